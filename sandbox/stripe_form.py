"""What did the client send? Turns `a[b][0][c]=1` form encoding into nested dictionaries of strings."""

from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe_refusal import Refusal

Form = dict[str, Any]  # name -> str, or a nested Form; a list is a Form whose names are "0", "1", ...

MAX_FIELDS = 20_000
MAX_DEPTH = 8


def decode(encoded: str) -> Form:
    """The nested form; raises Refusal (400) where names are malformed or contradict each other."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as problem:
        raise Refusal(400, f"Invalid request body: {problem}") from problem
    form: Form = {}
    for name, value in pairs:
        _place(form, name, value)
    return form


def _place(form: Form, name: str, value: str) -> None:
    path = _path(name)
    place = form
    for step in path[:-1]:
        place = place.setdefault(step or str(len(place)), {})
        if not isinstance(place, dict):
            raise Refusal(400, "Invalid request: a parameter is both a value and an object.", param=name)
    last = path[-1] or str(len(place))
    if last in place:
        raise Refusal(400, f"Invalid request: {name} was sent twice.", param=name)
    place[last] = value


def _path(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if not bracket:
        return [head]
    if not head or not rest.endswith("]"):
        raise Refusal(400, f"Invalid parameter name: {name}", param=name)
    path = [head, *rest[:-1].split("][")]
    if len(path) > MAX_DEPTH:
        raise Refusal(400, f"Invalid parameter name (too deep): {name}", param=name)
    return path
