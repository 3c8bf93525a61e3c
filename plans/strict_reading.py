"""How is JSON read strictly, every mistake in it named at once?

A reader takes decoded JSON, the JSON pointer to it and the list of mistakes that it adds to; it gives None for what it
could not read, so that whoever reads a whole document goes on and finds the other mistakes too. Amounts are strings of
decimal major units; a JSON number is refused, for it may have been a float.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

MAX_AMOUNT: Final = 10**12
MAX_QUANTITY: Final = 10**12

_DECIMAL: Final = re.compile(r"\d{1,13}(\.\d{1,12})?", re.ASCII)
_PLACED: Final = re.compile(r"(?P<detail>.*) - at `\$(?P<path>[^`]*)`", re.DOTALL)
_PATH_PART: Final = re.compile(r"\.([a-z_]+)|\[(\d+)\]")
_NAMED_FIELD: Final = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)

NO_DECIMAL: Final = "must be a decimal number such as 0.05, not negative, with at most 12 decimals"

Mistake = tuple[str, str]
"""A JSON pointer and what is wrong there."""
Mistakes = list[Mistake]
Reader = Callable[[Any, str, Mistakes], Any]


def read_members(
    raw: object, struct: type[msgspec.Struct], readers: Mapping[str, Reader], pointer: str, mistakes: Mistakes
) -> dict[str, Any]:
    """The arguments for a struct: the members of an object that could be read. Null stands where null may stand."""
    if not isinstance(raw, dict):
        mistakes.append((pointer, "must be an object"))
        return {}
    read: dict[str, Any] = {}
    members = {member.encode_name: member for member in msgspec.structs.fields(struct)}
    for name, member in members.items():
        place = f"{pointer}/{name}"
        if name not in raw:
            if member.required:
                mistakes.append((place, "is required"))
        elif raw[name] is None and member.default is None:
            read[member.name] = None
        else:
            value = readers[name](raw[name], place, mistakes)
            if value is not None:
                read[member.name] = value
    mistakes.extend((below(pointer, name), "is not a known field") for name in raw if name not in members)
    return read


def object_reader(struct: type[msgspec.Struct], readers: Mapping[str, Reader]) -> Reader:
    """A reader of objects that are a struct; None where any member is wrong."""

    def read(raw: Any, pointer: str, mistakes: Mistakes) -> Any:
        before = len(mistakes)
        members = read_members(raw, struct, readers, pointer, mistakes)
        return None if len(mistakes) > before else struct(**members)

    return read


def type_reader(wanted: Any) -> Reader:
    return lambda raw, pointer, mistakes: decode(raw, wanted, pointer, mistakes)


def quantity_reader(least: int, most: int) -> Reader:
    return lambda raw, pointer, mistakes: read_quantity(raw, pointer, mistakes, least=least, most=most)


def read_amount(raw: object, pointer: str, mistakes: Mistakes) -> Decimal | None:
    """An amount of 0 to MAX_AMOUNT with at most 12 decimals."""
    found = list(amount_errors(raw, pointer))
    mistakes.extend(found)
    return None if found else Decimal(str(raw))


def read_quantity(
    raw: object, pointer: str, mistakes: Mistakes, *, least: int = 0, most: int = MAX_QUANTITY
) -> int | None:
    """A whole number from `least` to `most`."""
    quantity: int | None = decode(raw, int, pointer, mistakes)
    if quantity is None:
        return None
    found = list(quantity_errors(quantity, least, most, pointer))
    mistakes.extend(found)
    return None if found else quantity


def decode(raw: object, wanted: Any, pointer: str, mistakes: Mistakes) -> Any:
    """`raw` as an instance of the `wanted` type; where its structure is wrong, None, and the first mistake is added."""
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as wrong:
        detail = str(wrong)
    if placed := _PLACED.fullmatch(detail):
        detail = placed["detail"]
        pointer += "".join(f"/{name or number}" for name, number in _PATH_PART.findall(placed["path"]))
    if detail == "Invalid decimal string":
        detail = NO_DECIMAL
    if named := _NAMED_FIELD.fullmatch(detail):
        pointer = below(pointer, named[2])
        detail = "is required" if named[1] == "missing required" else "is not a known field"
    mistakes.append((pointer, detail))
    return None


def below(pointer: str, name: object) -> str:
    """The JSON pointer to a member of what `pointer` points to."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"


def amount_errors(raw: object, pointer: str) -> Iterator[Mistake]:
    if not isinstance(raw, str):
        yield pointer, 'must be a string of decimal major units, such as "0.05"'
    elif not _DECIMAL.fullmatch(raw):
        yield pointer, NO_DECIMAL
    elif Decimal(raw) > MAX_AMOUNT:
        yield pointer, f"must be at most {MAX_AMOUNT}"


def quantity_errors(quantity: int, least: int, most: int, pointer: str) -> Iterator[Mistake]:
    if quantity < least:
        yield pointer, f"must be at least {least}"
    if quantity > most:
        yield pointer, f"must be at most {most}"
