"""Does an object have the shape that the SDK declares for it? Compares it with the class's own annotations."""

import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin

from stripe import StripeObject
from stripe._object_classes import get_object_class


def wrong_with(thing: Any) -> list[str]:
    """What differs: fields missing or unknown, values of another type; empty where nothing does."""
    known = get_object_class("V1", thing["object"])
    return list(_differences(thing.to_dict() if isinstance(thing, StripeObject) else thing, known, thing["object"]))


def _differences(value: dict[str, Any], declared: Any, path: str) -> typing.Iterator[str]:
    hints = {name: hint for name, hint in declared.__annotations__.items() if name[0].islower()}
    for name in value.keys() - hints.keys():
        yield f"{path}.{name} is unknown to the SDK"
    for name, hint in hints.items():
        if name in value:
            yield from _mismatch(value[name], hint, f"{path}.{name}")
        elif not _allows_none(hint):
            yield f"{path}.{name} is missing"


def _mismatch(value: Any, hint: Any, path: str) -> typing.Iterator[str]:
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None:
        if not _allows_none(hint):
            yield f"{path} is null"
    elif origin is Union:
        yield from min([list(_mismatch(value, each, path)) for each in _strict(arguments)], key=len)
    elif origin is Literal:
        if value not in arguments:
            yield f"{path} is {value!r}"
    elif origin is list:
        yield from _in_list(value, lambda item, place: _mismatch(item, arguments[0], place), path)
    else:
        yield from _in_plain(value, hint, path)


def _in_plain(value: Any, hint: Any, path: str) -> typing.Iterator[str]:
    if hint in (int, str, bool):
        if type(value) is not hint:
            yield f"{path} is a {type(value).__name__}"
    elif isinstance(hint, type) and issubclass(hint, StripeObject):
        yield from _differences(value, hint, path)
    elif isinstance(value, dict) and value.get("object") == "list":
        yield from _in_list(value["data"], lambda item, place: wrong_with(item), path)


def _in_list(items: list[Any], look: Callable[[Any, str], Iterable[str]], path: str) -> typing.Iterator[str]:
    for place, item in enumerate(items):
        yield from look(item, f"{path}[{place}]")


def _strict(members: tuple[Any, ...]) -> list[Any]:
    """The members of a union without the `str` that the SDK adds to enumerations for answers of later versions."""
    tolerant = any(get_origin(member) is Literal for member in members)
    return [m for m in members if m is not type(None) and not (tolerant and m is str)]


def _allows_none(hint: Any) -> bool:
    return type(None) in get_args(hint)
