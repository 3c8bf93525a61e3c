"""Where is the JSON from outside wrong? Faults, and the JSON pointers (RFC 6901) that say the place."""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

Step = str | int


class Fault(NamedTuple):
    """One thing wrong: where (a JSON pointer, "" being the whole text) and what."""

    pointer: str
    detail: str


class BadJson(ValueError):
    """The text, or the tree it holds, is not what was asked for."""

    def __init__(self, errors: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in errors))
        self.errors = errors


def walk(tree: Any) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Every value with the steps to it, outer before inner, left before right; no recursion, trees may be deep."""
    waiting: list[tuple[tuple[Step, ...], Any]] = [((), tree)]
    while waiting:
        steps, value = waiting.pop()
        yield steps, value
        if isinstance(value, dict):
            waiting += [((*steps, key), part) for key, part in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [((*steps, i), value[i]) for i in range(len(value) - 1, -1, -1)]


def to_pointer(steps: tuple[Step, ...]) -> str:
    """The JSON pointer (RFC 6901) of a place given by keys and indexes."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>[0-9]+|\.\.\.)\]")
_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<field>.*)`$", re.DOTALL)
_UNNAMED = "..."


def locate(message: str, tree: object, into: Any) -> Fault:
    """msgspec's message, with its path turned into a pointer that also names the keys msgspec leaves out."""
    place = _PLACE.search(message)
    detail = message[: place.start()] if place else message
    steps: list[Step] = []
    for step in _STEP.finditer(place["path"]) if place else ():
        if step["field"] is not None:
            steps.append(step["field"])
        elif step["index"] != _UNNAMED:
            steps.append(int(step["index"]))
        else:
            key = _guilty_key(message, tree, steps, into)
            if key is None:
                break
            steps.append(key)
    field = _FIELD.search(detail)
    if field:
        steps.append(field["field"])
    return Fault(to_pointer(tuple(steps)), detail)


def _guilty_key(message: str, tree: Any, steps: list[Step], into: Any) -> str | None:
    """Which key of the object at `steps` brings the message about: the one that does so when it is alone there."""
    candidates = _at(tree, steps)
    if not isinstance(candidates, dict):
        return None
    for key, value in candidates.items():
        try:
            msgspec.convert(_replaced(tree, steps, {key: value}), into)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    return None


def _at(tree: Any, steps: list[Step]) -> Any:
    return functools.reduce(lambda value, step: value[step], steps, tree)


def _replaced(tree: Any, steps: list[Step], value: object) -> Any:
    """A copy of `tree` along `steps` that ends in `value`."""
    if not steps:
        return value
    copy = tree.copy()
    copy[steps[0]] = _replaced(tree[steps[0]], steps[1:], value)
    return copy
