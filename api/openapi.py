"""What can be called, with what, and what comes back? The OpenAPI 3.1 document, made from the URLs and operations.

Nothing is written twice: paths come from the URLconf, the rest from `@operation` and the structs it names.
"""

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from django.urls import URLPattern, URLResolver, get_resolver, get_urlconf

from api.endpoints import Endpoint, Operation

_METHODS = ("get", "post", "put", "patch", "delete")
_URL_ARGUMENT = re.compile(r"<(?:(?P<converter>[^>:]+):)?(?P<name>[^>]+)>")
_CONVERTERS: dict[str, dict[str, str]] = {"uuid": {"type": "string", "format": "uuid"}, "int": {"type": "integer"}}
_REF = "#/components/schemas/{name}"

_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and request get the stored answer (at least 24 hours); another request gets 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def document() -> bytes:
    """The document of the URLconf in use, as JSON."""
    return _document(get_urlconf())


@functools.cache
def _document(urlconf: Any) -> bytes:
    found = sorted(_operations(get_resolver(urlconf).url_patterns, "/"), key=lambda each: each[0])
    types = {
        part: None for _, _, _, declared in found for part in (declared.body, declared.query, declared.returns) if part
    }
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route, method, view, declared in found:
        path, arguments = _path(route)
        paths.setdefault(path, {})[method] = _describe(method, view, declared, arguments, schema_of, components, path)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Parley", "version": "1", "description": "Per-conversation billing."},
            "paths": paths,
            "components": {
                "schemas": components | {"Problem": _PROBLEM_SCHEMA},
                "responses": {"Problem": _problem_response()},
                "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
                "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "pk_<id>_<secret>"}},
            },
        }
    )


def _operations(patterns: list[Any], prefix: str) -> Iterator[tuple[str, str, type[Endpoint], Operation]]:
    """(route, method, view, operation) of all endpoints below `prefix`."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _operations(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None)
            if not (inspect.isclass(view) and issubclass(view, Endpoint)):
                continue
            for method in _METHODS:
                declared = getattr(getattr(view, method, None), "operation", None)
                if declared is not None:
                    yield route, method, view, declared


def _path(route: str) -> tuple[str, list[dict[str, object]]]:
    arguments: list[dict[str, object]] = [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": _CONVERTERS.get(found["converter"], {"type": "string"}),
        }
        for found in _URL_ARGUMENT.finditer(route)
    ]
    return _URL_ARGUMENT.sub(lambda found: f"{{{found['name']}}}", route), arguments


def _describe(
    method: str,
    view: type[Endpoint],
    declared: Operation,
    arguments: list[dict[str, object]],
    schema_of: dict[Any, dict[str, Any]],
    components: dict[str, Any],
    path: str,
) -> dict[str, object]:
    parameters: list[dict[str, object]] = [*arguments]
    if declared.query is not None:
        parameters += _query_parameters(schema_of[declared.query], components)
    if method == "post" and declared.idempotent and declared.scope is not None:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    described: dict[str, object] = {
        "operationId": re.sub(r"[^a-zA-Z0-9]+", "_", f"{method}{path}").strip("_"),
        "summary": declared.summary,
        "description": _prose(declared, view),
        "tags": [path.split("/")[2] if path.startswith("/v1/") else path.split("/")[1]],
        "parameters": parameters,
        "responses": _responses(declared, schema_of),
        "security": [] if declared.scope is None else [{"apiKey": []}],
    }
    if declared.body is not None:
        content = {"application/json": {"schema": schema_of[declared.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _prose(declared: Operation, view: type[Endpoint]) -> str:
    scope = f"Needs the scope `{declared.scope}`." if declared.scope else "Needs no key."
    text = declared.description or inspect.getdoc(view) or ""
    return f"{text}\n\n{scope}".strip()


def _query_parameters(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, object]]:
    struct = components[schema["$ref"].rsplit("/", 1)[1]]
    required = struct.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in struct["properties"].items()
    ]


def _responses(declared: Operation, schema_of: dict[Any, dict[str, Any]]) -> dict[str, object]:
    success: dict[str, object] = {"description": declared.summary}
    if declared.returns is not None:
        success["content"] = {"application/json": {"schema": schema_of[declared.returns]}}
    statuses = {400, *declared.problems.values()} | ({401, 403} if declared.scope else set())
    problem: object = {"$ref": "#/components/responses/Problem"}
    return (
        {str(declared.status): success} | {str(status): problem for status in sorted(statuses)} | {"default": problem}
    )


def _problem_response() -> dict[str, object]:
    schema = {"$ref": _REF.format(name="Problem")}
    return {"description": "What went wrong", "content": {"application/problem+json": {"schema": schema}}}
