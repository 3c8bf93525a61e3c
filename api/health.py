"""Is Parley alive, and can it do its work? For the probes of whatever keeps it running.

`/livez` says that a web process answers and touches nothing else: who restarts it because the database is down makes
nothing better. `/readyz` says whether requests should be sent here: the database answers soon, and its tables are those
of this code. Neither needs a key, and neither looks at the host name or the protocol, since probes know only addresses.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache

import msgspec
from django.db import Error, ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from api.problems import Problem

LIVEZ, READYZ = "/livez", "/readyz"
ANSWER_WITHIN_S = 2
"""How long the database may take to let us in (no driver counts in less), and again to answer."""
NOT_MIGRATED = "The database is not migrated to this version."
LOOKED_FOR_S = 1.0
"""An answer holds so long: nobody should be able to busy the database by asking."""

logger = logging.getLogger(__name__)
_lock = threading.Lock()
_looked: tuple[float, str] | None = None


def liveness() -> bytes:
    """The body of an answer with status 200."""
    return msgspec.json.encode({"status": "alive"})


def readiness(now_s: float) -> bytes:
    """The body of an answer with status 200; raises Problem 503. `now_s` is of a clock that never goes back.

    Takes up to a few seconds while the database keeps silent. For any thread.
    """
    global _looked
    with _lock:
        if _looked is None or not 0 <= now_s - _looked[0] < LOOKED_FOR_S:
            _looked = (now_s, _what_is_missing())
        missing = _looked[1]
    if missing:
        raise Problem(503, "not-ready", "Not ready to work", missing, headers={"Retry-After": "2"})
    return msgspec.json.encode({"status": "ready"})


def answer_probes(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware before all others, which look at host names, protocols and sessions."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.path == LIVEZ:
            return _answer(liveness())
        if request.path != READYZ:
            return get_response(request)
        try:
            return _answer(readiness(time.monotonic()))
        except Problem as problem:
            return problem.to_response()

    return answer


def _answer(body: bytes) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _what_is_missing() -> str:
    """Asked over a connection of its own, which tells as well whether there is one to be had."""
    probe = connection.copy()
    probe.settings_dict["OPTIONS"] = {
        **probe.settings_dict["OPTIONS"],
        "connect_timeout": ANSWER_WITHIN_S,
        "options": f"-c statement_timeout={ANSWER_WITHIN_S}s",
    }
    try:
        with probe.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            missing = _last_migrations() - set(cursor.fetchall())
    except ProgrammingError:
        return NOT_MIGRATED
    except Error as error:
        logger.warning("not ready: %s", error)
        return "The database does not answer."
    finally:
        probe.close()
    return NOT_MIGRATED if missing else ""


@cache
def _last_migrations() -> set[tuple[str, str]]:
    return set(MigrationLoader(None).graph.leaf_nodes())
