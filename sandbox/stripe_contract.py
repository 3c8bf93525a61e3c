"""Would Stripe accept this request? Checks it against the types that the `stripe` SDK was generated with.

Every operation Stripe has is read from the SDK's service files; the parameters of each from its generated TypedDicts.
A parameter the SDK does not know, a value outside an enumeration, a wrong type or a missing parameter is refused with
Stripe's words, and what passes comes out typed (integers as int, lists as list).
"""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import stripe

from sandbox.stripe_form import Form
from sandbox.stripe_parameters import Read, reader_of
from sandbox.stripe_refusal import Refusal, unknown_address

API_VERSION: str = stripe.api_version


@dataclass(frozen=True)
class Operation:
    """One thing Stripe can be asked, for instance `POST /v1/invoices/{invoice}/pay`."""

    method: str
    path: str
    params_module: str | None
    params_class: str | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def updates(self) -> bool:
        """Whether it changes an existing object, where an empty string unsets a value."""
        return self.method == "POST" and self.path.endswith("}")


class Contract:
    """All operations of the installed SDK; `find` and `check` take about 100 microseconds together."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[str, int, str], list[tuple[list[str], Operation]]] = {}
        for operation in operations():
            steps = operation.path.strip("/").split("/")
            self._by_shape.setdefault((operation.method, len(steps), steps[1]), []).append((steps, operation))
        for alternatives in self._by_shape.values():
            # A literal step (`/search`) goes before a placeholder (`/{id}`).
            alternatives.sort(key=lambda pair: [step.startswith("{") for step in pair[0]])

    def find(self, method: str, path: str) -> tuple[Operation, list[str]]:
        """The operation and the ids in its path; raises Refusal 404 for an address Stripe does not have."""
        steps = path.strip("/").split("/")
        noun = steps[1] if len(steps) > 1 else ""
        for pattern, operation in self._by_shape.get((method, len(steps), noun), ()):
            if all(p == s or (p[0] == "{" and s) for p, s in zip(pattern, steps, strict=True)):
                return operation, [s for p, s in zip(pattern, steps, strict=True) if p[0] == "{"]
        raise unknown_address(method, path)

    def check(self, operation: Operation, form: Form) -> dict[str, object]:
        """The typed parameters; raises Refusal 400 with Stripe's message, code and param."""
        typed = _params_reader(operation)(form, "")
        assert isinstance(typed, dict)
        return typed


@cache
def operations() -> tuple[Operation, ...]:
    """Every operation of the SDK, each once."""
    root = Path(stripe.__file__).parent
    found: dict[str, Operation] = {}
    for source in sorted(root.rglob("*_service.py")):
        for operation in _operations_in(ast.parse(source.read_text(encoding="utf-8"))):
            found.setdefault(operation.name, operation)
    return tuple(found.values())


def _operations_in(tree: ast.Module) -> Iterator[Operation]:
    origin = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (address := _address(node)):
            params = _params_name(node)
            yield Operation(*address, origin.get(params) if params else None, params)


def _address(function: ast.FunctionDef) -> tuple[str, str] | None:
    """The method and path that `self._request(...)` inside this SDK method sends."""
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "_request":
            method, path = call.args[0], call.args[1]
            if isinstance(path, ast.Call) and isinstance(path.func, ast.Attribute):
                path = path.func.value  # "…".format(…)
            if isinstance(method, ast.Constant) and isinstance(path, ast.Constant):
                return str(method.value).upper(), str(path.value)
    return None


def _params_name(function: ast.FunctionDef) -> str | None:
    for argument in function.args.args:
        if argument.arg == "params" and argument.annotation is not None:
            for node in ast.walk(argument.annotation):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    return node.value
    return None


@cache
def _params_reader(operation: Operation) -> Read:
    if operation.params_module is None or operation.params_class is None:
        return _nothing
    params = getattr(importlib.import_module(operation.params_module), operation.params_class)
    return reader_of(params, empty_unsets=operation.updates)


def _nothing(value: object, param: str) -> object:
    if value:
        raise Refusal(400, "This operation takes no parameters.", code="parameter_unknown")
    return {}
