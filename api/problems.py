"""How does every endpoint say no? As `application/problem+json` (RFC 9457), whatever went wrong and wherever.

Views raise a `Problem`; `answer_exception` (named in settings.REST_FRAMEWORK) turns it, and everything else that can
be raised under a view, into an answer. `handler400` to `handler500` (named in config.urls) do the same for what fails
before a view is found. Nobody is told more about an unexpected failure than the id under which it was logged.
"""

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.views import defaults
from rest_framework.exceptions import APIException

from api.ids import uuid7
from api.json_faults import BadJson

logger = logging.getLogger(__name__)

API_PREFIXES = ("/v1/", "/ingest/", "/stripe/")
RETRY_AFTER_S = 2

Errors = Sequence[tuple[str, str]]


class Problem(Exception):
    """An answer other than success. `slug` names its kind in the `type` URI; `errors` are (JSON pointer, detail)."""

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str = "",
        *,
        errors: Errors = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status, self.slug, self.title, self.detail = status, slug, title, detail
        self.errors, self.headers, self.extra = errors, dict(headers or {}), dict(extra or {})

    def to_json(self) -> dict[str, object]:
        """The members of the problem document."""
        document: dict[str, object] = {"type": f"/problems/{self.slug}", "title": self.title, "status": self.status}
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return document | self.extra

    def rendered(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer, for doors that are no views. Never to be cached."""
        headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"} | self.headers
        return headers, msgspec.json.encode(self.to_json())

    def to_response(self) -> HttpResponse:
        """The problem as the answer of a view."""
        headers, body = self.rendered()
        return HttpResponse(body, status=self.status, headers=headers | {"Content-Length": str(len(body))})


def bad_request(detail: str, *, errors: Errors = ()) -> Problem:
    """400: the request cannot be understood."""
    return Problem(400, "bad-request", "The request cannot be understood", detail, errors=errors)


def unauthenticated(detail: str) -> Problem:
    """401: no valid API key."""
    challenge = {"WWW-Authenticate": 'Bearer realm="parley"'}
    return Problem(401, "unauthenticated", "A valid API key is needed", detail, headers=challenge)


def forbidden(detail: str) -> Problem:
    """403: the key is valid but may not do this."""
    return Problem(403, "forbidden", "Not allowed", detail)


def not_found(detail: str = "") -> Problem:
    """404: there is no such thing, or none this key may see."""
    return Problem(404, "not-found", "Not found", detail)


def timed_out(detail: str) -> Problem:
    """408: the request did not arrive in time; nothing was stored."""
    return Problem(408, "request-timeout", "The request took too long to arrive", detail)


def conflict(detail: str, *, errors: Errors = ()) -> Problem:
    """409: understood, but at odds with what is stored."""
    return Problem(409, "conflict", "In conflict with what is stored", detail, errors=errors)


def length_required(detail: str) -> Problem:
    """411: a body of unknown length."""
    return Problem(411, "length-required", "Send a Content-Length", detail)


def too_large(detail: str) -> Problem:
    """413: the body is larger than accepted."""
    return Problem(413, "too-large", "The body is too large", detail)


def unsupported_media_type(detail: str) -> Problem:
    """415: another content type or encoding than accepted."""
    return Problem(415, "unsupported-media-type", "Content type or encoding not supported", detail)


def head_too_large(limit: int) -> Problem:
    """431: URL and headers are larger than `limit` bytes."""
    return Problem(431, "head-too-large", "The head is too large", f"URL and headers may have {limit:,} bytes.")


def too_many_requests(detail: str, *, retry_after_s: float, headers: Mapping[str, str] | None = None) -> Problem:
    """429: this caller is too fast; nothing was stored."""
    headers = {"Retry-After": str(math.ceil(retry_after_s)), **(headers or {})}
    return Problem(429, "too-many-requests", "Too many requests", detail, headers=headers)


NOTHING_STORED = "Nothing of the request was stored."
MAYBE_STORED = "The database was lost on the way: whether the request was stored is not known. Send it again unchanged."


def unavailable(detail: str = NOTHING_STORED, *, retry_after_s: float = RETRY_AFTER_S) -> Problem:
    """503: overloaded or without a database."""
    headers = {"Retry-After": str(math.ceil(retry_after_s))}
    return Problem(503, "unavailable", "Not available at the moment", detail, headers=headers)


_KINDS = {
    400: ("bad-request", "The request cannot be understood"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    409: ("conflict", "In conflict with what is stored"),
    422: ("not-processable", "Understood, but not possible"),
}


def problem_of_status(status: int, detail: str, *, errors: Errors = ()) -> Problem:
    """A problem with the usual words of an HTTP status, for exceptions mapped to a status."""
    slug, title = _KINDS.get(status, (f"status-{status}", f"Answered with status {status}"))
    return Problem(status, slug, title, detail, errors=errors)


def answer_exception(exc: Exception, context: Mapping[str, Any]) -> HttpResponseBase:
    """The answer to an exception out of a view."""
    request = context.get("request")
    return problem_for(exc, getattr(request, "method", "?"), getattr(request, "path", "?")).to_response()


def problem_for(exc: BaseException, method: str, path: str) -> Problem:
    """The problem that an exception is to a client; the unexpected is logged with its traceback under a request id."""
    return _meaning_of(exc) or _unexpected(exc, method, path)


def _meaning_of(exc: BaseException | None) -> Problem | None:
    """What an exception means to a client; None where only we are to blame."""
    return next((make(exc) for kinds, make in _MEANINGS if isinstance(exc, kinds)), None)


def _of_lost_database(exc: BaseException) -> Problem:
    # The database is down, its connections are all taken, or it gave up on a deadlock or a time limit: all of that
    # passes. What never reached it, or was refused with a reason, is not stored. Of a connection that broke, and of a
    # server that crashed, nobody can tell whether it had committed.
    logger.warning("database not available: %s: %s", type(exc).__name__, exc)
    cause = _cause(exc)
    refused = isinstance(cause, psycopg.Error) and (cause.sqlstate is not None or cause.pgconn is not None)
    refused = refused and not isinstance(cause, psycopg.errors.CrashShutdown)
    return unavailable(NOTHING_STORED if refused else MAYBE_STORED)


def _of_ended_transaction(exc: BaseException) -> Problem | None:
    # The server ended a transaction that idled for too long, or has become a read-only replica.
    return _of_lost_database(exc) if isinstance(_cause(exc), _ENDED_BY_SERVER) else None


_ENDED_BY_SERVER = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
)


def _cause(exc: BaseException) -> BaseException | None:
    """What the driver raised, where Django wraps it."""
    return exc if isinstance(exc, psycopg.Error) else exc.__cause__


def _of_refused_value(exc: BaseException) -> Problem:
    # A text too long or a number too large for its column, where the type of the request did not say so.
    logger.warning("value refused by the database", exc_info=exc)
    return bad_request("A value is longer or larger than can be stored.")


_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], Problem | None]], ...] = (
    ((Problem,), lambda exc: exc),
    ((BadJson,), lambda exc: bad_request("The JSON sent is not as it must be.", errors=exc.errors)),
    ((Http404,), lambda exc: not_found()),
    ((PermissionDenied,), lambda exc: forbidden("")),
    ((RequestDataTooBig,), lambda exc: too_large("")),
    ((SuspiciousOperation,), lambda exc: bad_request("")),
    ((UnreadablePostError,), lambda exc: bad_request("The connection broke before the body was complete.")),
    ((OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError), _of_lost_database),
    ((InternalError, psycopg.InternalError), _of_ended_transaction),
    ((DataError, psycopg.DataError), _of_refused_value),
    ((APIException,), lambda exc: problem_of_status(exc.status_code, str(exc.detail))),
)


def _unexpected(exc: BaseException | None, method: str, path: str) -> Problem:
    request_id = str(uuid7())
    logger.error("request %s failed: %s %s", request_id, method, path, exc_info=exc)
    return Problem(500, "internal-error", "Something went wrong on our side", extra={"request_id": request_id})


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Bad requests found before a view: unknown host names, too many fields, bodies too large."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return (_meaning_of(exception) or bad_request("")).to_response()


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Refusals outside a view."""
    return forbidden("").to_response() if _is_api(request) else defaults.permission_denied(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """URLs that lead nowhere."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return not_found("There is no such URL.").to_response()


def handler500(request: HttpRequest) -> HttpResponseBase:
    """What failed outside a view; called by Django while the exception is being handled."""
    if not _is_api(request):
        return defaults.server_error(request)
    exc = sys.exc_info()[1]
    return (_meaning_of(exc) or _unexpected(exc, request.method or "?", request.path)).to_response()


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIXES)
