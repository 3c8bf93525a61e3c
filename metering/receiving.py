"""What is answered to `POST /v1/events`? The one implementation behind the bare door and behind Django's view.

Requests that came at about the same time are read one by one and stored together: each keeps its own verdict, and what
is wrong with one touches no other.
"""

import datetime as dt
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import msgspec
import psycopg
from django.conf import settings
from django.db import DatabaseError, connection
from django.http.request import split_domain_port, validate_host

from api.authentication import authenticate
from api.bodies import inflate, refuse_query, require_json_type
from api.endpoints import require_key_scope
from api.metrics import count_verdicts
from api.models import ApiKey
from api.problems import Problem, bad_request, problem_for, too_large, unavailable
from api.rate_limits import is_limited, require_admission
from api.strict_json import BadJson
from metering.ingest import EVENTS, IngestContended, Verdict, ingest_together
from metering.intake import Intake, Sender, TooManyEvents, read_batch

STATUSES = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")
WAITED_TOO_LONG = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
SHORT_WAIT_S = 1.0
"""For a lock, where others wait behind who waits: longer than anybody holds one who only counts."""
UNREMARKABLE = ("accepted", "duplicate")
_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


class Sent(NamedTuple):
    """A request as it came: the headers that matter, the query, and the body as sent."""

    authorization: str | None
    query: str
    content_type: str | None
    content_encoding: str | None
    body: bytes
    host: str | None = None
    framed: bool = False
    """Whether a framework has already looked at the host and counted the request against the caller's rate."""


class Reply(NamedTuple):
    """What is answered: status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class IngestAnswer(msgspec.Struct):
    """How many events became what, and each that is neither accepted nor a duplicate."""

    accepted: int
    duplicate: int
    updated: int
    conflict: int
    quarantined: int
    rejected: int
    results: list[Verdict]


class Caller(NamedTuple):
    """Who sent a request, what it may report, and whether its rate has to be watched."""

    key: ApiKey
    sender: Sender
    limited: bool


Callers = dict[tuple[str | None, str, str | None, bool], Caller]
"""By what of a request says who sent it."""


class _Group:
    """What is found out once for all requests of a group.

    Who they come from; and that the database is away, which is then the answer to all.
    """

    def __init__(self) -> None:
        self.callers: Callers = {}
        self.away: Problem | None = None


def receive(requests: Sequence[Sent], *, now: dt.datetime) -> list[Reply]:
    """Read, store and answer requests; an answer of 200 is given after the commit. Not inside a transaction."""
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()  # it may have broken under the last group
    group = _Group()
    read = [_read(sent, group, now) for sent in requests]
    together = [one for one in read if isinstance(one, Intake)]
    stored = iter(_store(together, now))
    counted: Counter[str] = Counter()
    replies = [_reply(next(stored) if isinstance(one, Intake) else one, counted) for one in read]
    count_verdicts(EVENTS, counted)
    return replies


def _read(sent: Sent, group: _Group, now: dt.datetime) -> Intake | Problem:
    if group.away is not None:
        return group.away
    try:
        caller = _caller(sent, group.callers, now)
        if caller.limited and not sent.framed:
            require_admission(caller.key, events=0, now_s=time.monotonic())
        body = inflate(sent.body, sent.content_encoding)
        if sent.content_type != "application/json":
            require_json_type(sent.content_type)
        refuse_query(sent.query)
        intake = read_batch(body, sender=caller.sender, now=now)
        if caller.limited:
            events = len(intake.reports) + len(intake.rejected)
            require_admission(caller.key, events=events, requests=0, now_s=time.monotonic())
        return intake
    except Problem as problem:
        return problem
    except BadJson as error:
        return bad_request("The body cannot be read.", errors=error.errors)
    except TooManyEvents as error:
        return too_large(str(error))
    except Exception as error:
        failure = _failure(error)
        if _is_lost():
            group.away = failure  # or each of them would wait as long for it
        return failure


def _caller(sent: Sent, callers: Callers, now: dt.datetime) -> Caller:
    """Whose request it is, found once for all of a group that say the same. Raises Problem 400, 401 and 403."""
    said = (sent.authorization, sent.query, sent.host, sent.framed)
    caller = callers.get(said)
    if caller is None:
        if not sent.framed:
            _require_host(sent.host)
        key = require_key_scope(authenticate(sent.authorization, sent.query, now=now), "ingest")
        caller = Caller(key, Sender("backfill" in key.scopes, key.customer_key), is_limited(key))
        callers[said] = caller
    return caller


def _require_host(host: str | None) -> None:
    """Raises Problem 400 for a host that this installation is not, as Django does."""
    if not _is_ours(host or "", tuple(settings.ALLOWED_HOSTS)):
        raise bad_request("")


@lru_cache(maxsize=128)
def _is_ours(host: str, ours: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, ours)


def _store(intakes: Sequence[Intake], now: dt.datetime) -> list[list[Verdict] | Problem]:
    """The verdicts on each request's events, in one transaction; in smaller ones if something spoils that."""
    if not intakes:
        return []
    try:
        return _stored(intakes, now)
    except Exception as error:
        if len(intakes) == 1 or _is_lost():
            return [_failure(error)] * len(intakes)
        if isinstance(error.__cause__, WAITED_TOO_LONG):
            return _store_apart(intakes, _by_customers(intakes), now)
        return _store_apart(intakes, [[index] for index in range(len(intakes))], now)


def _stored(intakes: Sequence[Intake], now: dt.datetime) -> list[list[Verdict] | Problem]:
    stored = ingest_together([intake.reports for intake in intakes], now=now)
    return [[*verdicts, *intake.rejected] for verdicts, intake in zip(stored, intakes, strict=True)]


def _store_apart(
    intakes: Sequence[Intake], parts: Iterable[Sequence[int]], now: dt.datetime
) -> list[list[Verdict] | Problem]:
    """Store the parts (by index) one after the other. None of them waits for long: everybody else waits for it."""
    answers: dict[int, list[Verdict] | Problem] = {}
    with _short_waits():
        for part in parts:
            try:
                stored = _stored([intakes[index] for index in part], now)
            except Exception as error:
                stored = [_failure(error)] * len(part)
                if _is_lost():
                    return [answers.get(index, stored[0]) for index in range(len(intakes))]
            answers |= zip(part, stored, strict=True)
    return [answers[index] for index in range(len(intakes))]


@contextmanager
def _short_waits() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{SHORT_WAIT_S:g}s'")
    try:
        yield
    finally:
        if connection.connection is not None:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")


def _by_customers(intakes: Sequence[Intake]) -> Iterable[list[int]]:
    """The requests that report of the same customers, and so wait for the same locks."""
    alike: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, intake in enumerate(intakes):
        alike[frozenset(report.customer for report in intake.reports)].append(index)
    return alike.values()


def _failure(error: Exception) -> Problem:
    return unavailable() if isinstance(error, IngestContended) else problem_for(error, "POST", "/v1/events")


def _is_lost() -> bool:
    """Whether the database is not to be reached; the next request opens a new connection."""
    try:
        usable = connection.connection is not None and connection.is_usable()
    except DatabaseError:
        usable = False
    if not usable:
        connection.close()
    return not usable


def _reply(result: list[Verdict] | Problem, counted: Counter[str]) -> Reply:
    """The answer, whose verdicts are added to those `counted`."""
    if isinstance(result, Problem):
        return Reply(result.status, *result.rendered())
    accepted = sum(verdict.status == "accepted" for verdict in result)
    if accepted == len(result):
        counted["accepted"] += accepted
        return _all_accepted(accepted)
    counted.update(verdict.status for verdict in result)
    return Reply(200, _HEADERS, msgspec.json.encode(ingest_answer(result)))


@lru_cache(maxsize=1024)
def _all_accepted(events: int) -> Reply:
    return Reply(200, _HEADERS, msgspec.json.encode(IngestAnswer(events, 0, 0, 0, 0, 0, [])))


def ingest_answer(verdicts: Iterable[Verdict]) -> IngestAnswer:
    """What to say of the verdicts on a batch."""
    verdicts = sorted(verdicts, key=lambda verdict: verdict.index)
    counts = Counter(verdict.status for verdict in verdicts)
    remarkable = [verdict for verdict in verdicts if verdict.status not in UNREMARKABLE]
    return IngestAnswer(**{status: counts[status] for status in STATUSES}, results=remarkable)
