"""How is one Stripe parameter read from its text? A type of the SDK becomes a function that reads or refuses.

The SDK writes enumerations as `Literal[...] | str` so that old clients accept new answers; Stripe itself refuses what
it does not list, so here such a type is closed.
"""

import re
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from stripe._request_options import RequestOptions
from typing_extensions import is_typeddict

from sandbox.stripe_refusal import Refusal

Read = Callable[[object, str], object]

# They travel as headers, not as parameters.
REQUEST_OPTIONS = frozenset(RequestOptions.__annotations__)
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
METADATA_KEYS, METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH = 50, 40, 500


def reader_of(hint: Any, *, empty_unsets: bool) -> Read:
    """The reader for a type of the SDK. `empty_unsets`: an empty text means "remove the value", as in updates."""
    hint = _bare(hint)
    origin = get_origin(hint)
    if is_typeddict(hint):
        return _object_reader(hint, empty_unsets)
    if origin in (Union, types.UnionType):
        return _union_reader(get_args(hint), empty_unsets)
    if origin is Literal:
        return _choice_reader(tuple(str(choice) for choice in get_args(hint)))
    if origin is list:
        return _list_reader(reader_of(get_args(hint)[0], empty_unsets=empty_unsets))
    if _is_map(hint):
        return _read_map
    if hint is str:
        return _read_text if empty_unsets else _read_full_text
    return SCALARS.get(hint, _read_anything)


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (NotRequired, Required):
        hint = get_args(hint)[0]
    return hint


def _is_map(hint: Any) -> bool:
    return get_origin(hint) is dict or getattr(get_origin(hint), "__name__", "") == "UntypedStripeObject"


def _object_reader(declared: Any, empty_unsets: bool) -> Read:
    hints = typing.get_type_hints(declared, localns={"StripeContext": object, "Mapping": Mapping}, include_extras=True)
    fields = {
        name: reader_of(hint, empty_unsets=empty_unsets) for name, hint in hints.items() if name not in REQUEST_OPTIONS
    }
    required = [name for name in fields if name in declared.__required_keys__]

    def read(value: object, param: str) -> object:
        if not isinstance(value, dict):
            raise Refusal(400, "Invalid object", param=param)
        typed = {}
        for name, given in value.items():
            inner = _inside(param, name)
            if name not in fields:
                raise Refusal(400, f"Received unknown parameter: {inner}", code="parameter_unknown", param=inner)
            typed[name] = fields[name](given, inner)
        for name in required:
            if name not in value:
                inner = _inside(param, name)
                raise Refusal(400, f"Missing required param: {inner}.", code="parameter_missing", param=inner)
        return typed

    return read


def _union_reader(members: tuple[Any, ...], empty_unsets: bool) -> Read:
    choices = tuple(str(c) for m in members if get_origin(m) is Literal for c in get_args(m))
    listed = tuple(choice for choice in choices if choice)
    lists = [m for m in members if get_origin(m) is list]
    objects = [m for m in members if is_typeddict(m) or _is_map(m)]
    # With listed choices, the `str` beside them is only the SDK's tolerance for answers.
    plain = [m for m in members if m in SCALARS or (m is str and not listed)]
    read_list = reader_of(lists[0], empty_unsets=empty_unsets) if lists else None
    read_object = reader_of(objects[0], empty_unsets=empty_unsets) if objects else None
    read_plain = reader_of(plain[0], empty_unsets=empty_unsets) if plain else None
    read_choice = _choice_reader(listed) if listed else None

    def read(value: object, param: str) -> object:
        if value == "" and "" in choices:
            return ""
        if isinstance(value, dict):
            structured = read_list if read_list and "0" in value else read_object or read_list
        else:
            structured = read_choice or read_plain
        if structured is None:
            raise Refusal(400, "Invalid object" if isinstance(value, str) else "Invalid value", param=param)
        return structured(value, param)

    return read


def _choice_reader(choices: tuple[str, ...]) -> Read:
    def read(value: object, param: str) -> object:
        if value not in choices:
            allowed = ", ".join(choices[:-1]) + (" or " if choices[:-1] else "") + choices[-1]
            raise Refusal(400, f"Invalid {param}: must be one of {allowed}", param=param)
        return value

    return read


def _list_reader(read_item: Read) -> Read:
    def read(value: object, param: str) -> object:
        if not isinstance(value, dict) or any(str(place) not in value for place in range(len(value))):
            raise Refusal(400, "Invalid array", param=param)
        return [read_item(value[str(place)], f"{param}[{place}]") for place in range(len(value))]

    return read


def _read_map(value: object, param: str) -> object:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise Refusal(400, "Invalid hash", param=param)
    if param.endswith(("metadata", "metadata]")):
        _check_metadata(value, param)
    return dict(value)


def _check_metadata(metadata: dict[str, str], param: str) -> None:
    if len(metadata) > METADATA_KEYS:
        raise Refusal(400, f"Metadata can have at most {METADATA_KEYS} keys.", param=param)
    for name, value in metadata.items():
        if len(name) > METADATA_KEY_LENGTH or len(value) > METADATA_VALUE_LENGTH:
            raise Refusal(
                400,
                f"Metadata keys can have up to {METADATA_KEY_LENGTH} characters, values up to {METADATA_VALUE_LENGTH}.",
                param=_inside(param, name),
            )


def _read_text(value: object, param: str) -> object:
    if not isinstance(value, str):
        raise Refusal(400, "Invalid string", param=param)
    return value


def _read_full_text(value: object, param: str) -> object:
    if value == "":
        raise Refusal(400, f"You passed an empty string for '{param}'.", code="parameter_invalid_empty", param=param)
    return _read_text(value, param)


def _read_whole(value: object, param: str) -> object:
    if not isinstance(value, str) or not WHOLE_NUMBER.fullmatch(value):
        raise Refusal(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    return int(value)


def _read_decimal(value: object, param: str) -> object:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -12:
        raise Refusal(400, f"Invalid decimal: {value}; must contain at most 12 decimal places.", param=param)
    return number


def _read_flag(value: object, param: str) -> object:
    if value not in ("true", "false"):
        raise Refusal(400, f"Invalid boolean: {value}", param=param)
    return value == "true"


def _read_anything(value: object, param: str) -> object:
    return value


def _inside(param: str, name: str) -> str:
    return f"{param}[{name}]" if param else name


SCALARS: dict[Any, Read] = {
    int: _read_whole,
    float: _read_decimal,
    Decimal: _read_decimal,
    bool: _read_flag,
}
