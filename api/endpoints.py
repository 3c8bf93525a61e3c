"""How does every endpoint behave? Authenticated, in scope, strict about its input, atomic, repeatable.

    class Customers(Endpoint):
        @operation(scope="manage", body=NewCustomer, returns=CustomerOut, status=201, summary="Create a customer",
                   problems={CustomerExists: 409})
        def post(self, request, body):
            return customer_out(create_customer(...))

A method gets `request`, the arguments of its URL, and `body` and `query` where the operation declares them. It returns
a value to encode, an `Answer` (for a Location or another status), or an HttpResponse for what is not JSON. The order
of refusals: 401, 403, 429, 415/413/400 for the body, 400 for the query, then what the method raises.
"""

import functools
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.answers import Answer, encode
from api.bodies import BODY_LIMIT, read_body, read_query, read_struct, require_json
from api.idempotency import Rendered, answer_once
from api.metrics import count_request
from api.models import SCOPES, ApiKey
from api.problems import bad_request, forbidden, not_found, problem_of_status, unauthenticated
from api.rate_limits import require_admission

__all__ = ["Answer", "Endpoint", "Operation", "operation", "read_body", "require_json", "require_scope"]

Method = TypeVar("Method", bound=Callable[..., Any])

_SAFE = ("GET", "HEAD", "OPTIONS")
_KEY_LIMIT = 255


@dataclass(frozen=True)
class Operation:
    """What a method of an endpoint promises; read by the decorator and by the OpenAPI document."""

    summary: str
    scope: str | None
    body: Any = None
    query: Any = None
    returns: Any = None
    status: int = 200
    problems: Mapping[type[Exception], int] = field(default_factory=dict)
    idempotent: bool = True
    atomic: bool = True
    reads_body: bool = True
    body_limit: int = BODY_LIMIT
    description: str = ""
    door: str = "rest"


class JsonOnly(BaseContentNegotiation):
    """Answers are JSON whatever the Accept header says: a client that bills should not fail over a header."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Bodies are read by `api.bodies`, never by a parser of the framework."""
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The only renderer there is."""
        return renderers[0], renderers[0].media_type


class Endpoint(APIView):
    """The view behind one URL; its methods carry `@operation`."""

    content_negotiation_class = JsonOnly

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answers, and counts the answer."""
        started_at_s = time.monotonic()
        answer = super().dispatch(request, *args, **kwargs)
        declared = getattr(getattr(self, (request.method or "").lower(), None), "operation", None)
        door = declared.door if isinstance(declared, Operation) else Operation.door
        count_request(door, answer.status_code, time.monotonic() - started_at_s)
        return answer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses URLs that no row can ever match and no database would look up."""
        super().initial(request, *args, **kwargs)
        if any("\0" in str(value) for value in kwargs.values()):
            raise not_found()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """What a key may see belongs into no cache."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if "HTTP_AUTHORIZATION" in request.META:
            final["Cache-Control"] = "no-store"
        return final


def operation(
    *,
    summary: str,
    scope: str | None,
    body: Any = None,
    query: Any = None,
    returns: Any = None,
    status: int = 200,
    problems: Mapping[type[Exception], int] | None = None,
    idempotent: bool = True,
    atomic: bool = True,
    reads_body: bool = True,
    body_limit: int = BODY_LIMIT,
    description: str = "",
    door: str = Operation.door,
) -> Callable[[Method], Method]:
    """Makes a method an operation of the API.

    scope: what the key must be allowed to do; None lets everybody in.
    body, query: the structs (derived from `strict_json.Body`) to read the request into.
    returns, status: what success looks like.
    problems: named exceptions of the domain and the status they become; an exception's `errors` are passed on.
    idempotent: whether a POST honours Idempotency-Key; it then must return JSON.
    atomic: whether the method runs in one transaction (methods other than GET only); with an Idempotency-Key it does,
        so that nothing is left of the record of an answer that was none.
    reads_body: False for methods that call `read_body` themselves.
    door: the name under which requests are counted, for operations by which usage comes in.
    """
    if scope is not None and scope not in SCOPES:
        raise ValueError(f"unknown scope {scope!r}")
    declared = Operation(
        summary,
        scope,
        body,
        query,
        returns,
        status,
        problems or {},
        idempotent,
        atomic,
        reads_body,
        body_limit,
        description,
        door,
    )

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def handle(self: Endpoint, request: Request, **url_arguments: Any) -> HttpResponseBase:
            try:
                return _perform(declared, functools.partial(method, self, request, **url_arguments), request)
            except tuple(declared.problems) as error:
                raise _as_problem(error, declared.problems) from error

        handle.operation = declared  # type: ignore[attr-defined]
        return handle  # type: ignore[return-value]

    return decorate


def _perform(declared: Operation, method: Callable[..., Any], request: Request) -> HttpResponseBase:
    if declared.scope is not None:
        require_admission(require_scope(request, declared.scope), events=0, now_s=time.monotonic())
    writes = request.method not in _SAFE
    raw = _read_declared_body(declared, request) if writes and declared.reads_body else b""
    arguments: dict[str, object] = {}
    if writes and declared.reads_body:
        arguments["body"] = read_struct(raw, declared.body)
    arguments["query"] = read_query(request, declared.query)
    arguments = {name: value for name, value in arguments.items() if getattr(declared, name) is not None}
    work = functools.partial(method, **arguments)
    key = _idempotency_key(declared, request)
    with transaction.atomic() if writes and (declared.atomic or key is not None) else nullcontext():
        if key is None:
            return _response(work(), declared)
        return _answer_once(declared, work, request, key, raw)


def _read_declared_body(declared: Operation, request: Request) -> bytes:
    """Saying nothing is saying {}: it does where every field may be left out."""
    raw = read_body(request, declared.body_limit)
    if raw:
        require_json(request)
    return raw or b"{}"


def require_scope(request: Request, scope: str) -> ApiKey:
    """The key of the request; raises Problem 401 without one and 403 if it lacks `scope`."""
    return require_key_scope(request.auth, scope)


def require_key_scope(key: object, scope: str) -> ApiKey:
    """The key (or what stands for none); raises Problem 401 if there is none and 403 if it lacks `scope`."""
    if not isinstance(key, ApiKey):
        raise unauthenticated("Send the header Authorization: Bearer pk_...")
    if scope not in key.scopes:
        raise forbidden(f"This key lacks the scope {scope}.")
    return key


# --- repeating ------------------------------------------------------------------------------------------------------


def _idempotency_key(declared: Operation, request: Request) -> str | None:
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None or request.method != "POST" or not declared.idempotent or not isinstance(request.auth, ApiKey):
        return None
    if not (0 < len(key) <= _KEY_LIMIT and key.isascii() and key.isprintable()):
        raise bad_request(f"An Idempotency-Key has 1 to {_KEY_LIMIT} printable ASCII characters.")
    return key


def _answer_once(
    declared: Operation, work: Callable[[], Any], request: Request, key: str, raw: bytes
) -> HttpResponseBase:
    rendered = answer_once(
        lambda: _render(work(), declared),
        api_key=cast(ApiKey, request.auth),
        key=key,
        method_and_path=f"{request.method} {request.get_full_path()}",
        body=raw,
        now=timezone.now(),
    )
    response = _to_response(rendered)
    if rendered.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


# --- answering ------------------------------------------------------------------------------------------------------


def _response(result: Any, declared: Operation) -> HttpResponseBase:
    if isinstance(result, HttpResponseBase):
        return result
    response = _to_response(_render(result, declared))
    if isinstance(result, Answer):
        for name, value in result.headers.items():
            response[name] = value
    return response


def _render(result: Any, declared: Operation) -> Rendered:
    if isinstance(result, HttpResponseBase):
        raise TypeError("an operation that does not answer with JSON must be declared idempotent=False")
    answer = result if isinstance(result, Answer) else Answer(result)
    status = answer.status or declared.status
    return Rendered(status, b"" if status == 204 else encode(answer.value), answer.location)


def _to_response(rendered: Rendered) -> HttpResponse:
    response = HttpResponse(rendered.body, status=rendered.status, content_type="application/json")
    if rendered.location:
        response["Location"] = rendered.location
    return response


def _as_problem(error: Exception, problems: Mapping[type[Exception], int]) -> Exception:
    """The most specific entry wins."""
    status = next(problems[kind] for kind in type(error).__mro__ if kind in problems)
    return problem_of_status(status, str(error), errors=getattr(error, "errors", ()))
