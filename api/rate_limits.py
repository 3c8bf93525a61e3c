"""How much may a caller send? A rate of events and of requests for each API key, and for each bound customer.

Every rate is a bucket that fills steadily and holds what may come at once after a quiet time. Whoever finds something
in the bucket is let in, however much he brings, and what is missing then has to fill up again before the next: so a
batch larger than the bucket is possible, and in the long run the rate is kept exactly. Keys that are bound to the same
customer have, beside their own, one bucket together.

Buckets live in the memory of a web process, and each of `settings.WEB_WORKERS` processes grants its share: a client
that keeps to one connection, and so to one process, reaches the share only.
"""

import functools
import math
import re
import threading
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from api.problems import NOTHING_STORED, too_many_requests

if TYPE_CHECKING:
    from api.models import ApiKey

QUIET_S = 10
"""Without a burst of its own a bucket holds so many seconds of its rate."""
LARGEST = 2**31 - 1
_A_LITTLE_S = 1e-6  # so that whoever waits exactly as long as told is let in, whatever the rounding


class UnreadableRateLimit(ValueError):
    """The text is no rate limit; the message says what one looks like."""


class RateLimit(NamedTuple):
    """Events per second, events at once, and requests per second; None is without limit."""

    events_per_s: int | None = None
    events_burst: int | None = None
    requests_per_s: int | None = None


UNLIMITED = RateLimit()
_TEXT = re.compile(r"(events|burst|requests)=([0-9]{1,10})")
_FIELD = {"events": "events_per_s", "burst": "events_burst", "requests": "requests_per_s"}


def read_rate_limit(text: str) -> RateLimit:
    """`events=500,burst=5000,requests=50`, or a part of it; nothing is without limit. Raises UnreadableRateLimit."""
    found: dict[str, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        spelled = _TEXT.fullmatch(part)
        if spelled is None or _FIELD[spelled[1]] in found or not 0 < int(spelled[2]) <= LARGEST:
            raise UnreadableRateLimit(f"a rate limit reads events=500,burst=5000,requests=50, and not {text!r}")
        found[_FIELD[spelled[1]]] = int(spelled[2])
    if "events_burst" in found and "events_per_s" not in found:
        raise UnreadableRateLimit("a burst needs a rate of events to go with it")
    return RateLimit(**found) if found else UNLIMITED


@functools.cache
def configured(setting: str) -> RateLimit:
    """The limit that settings.RATE_LIMIT or settings.CUSTOMER_RATE_LIMIT spells out. Raises ImproperlyConfigured."""
    try:
        return read_rate_limit(setting)
    except UnreadableRateLimit as error:
        raise ImproperlyConfigured(str(error)) from error


class _Share(NamedTuple):
    """The part of a limit that one process grants; a missing rate is endless. A full bucket lasts its rate so long."""

    limit: RateLimit
    events_per_s: float
    events_last_s: float
    requests_per_s: float
    requests_last_s: float


@functools.cache
def _share(
    events_per_s: int | None, events_burst: int | None, requests_per_s: int | None, usual: str, processes: int
) -> _Share | None:
    """Each rate is the one given or else the usual one; None where there is neither."""
    default = configured(usual)
    if events_per_s is None:
        events_per_s, events_burst = default.events_per_s, default.events_burst
    if requests_per_s is None:
        requests_per_s = default.requests_per_s
    if events_per_s is None and requests_per_s is None:
        return None
    burst = events_burst or QUIET_S * (events_per_s or 1)
    return _Share(
        RateLimit(events_per_s, events_burst, requests_per_s),
        math.inf if events_per_s is None else events_per_s / processes,
        math.inf if events_per_s is None else burst / events_per_s,
        math.inf if requests_per_s is None else requests_per_s / processes,
        math.inf if requests_per_s is None else QUIET_S,
    )


class _Buckets:
    """Of events and of requests: each kept as the instant at which it will be full again."""

    __slots__ = ("events_full_at_s", "requests_full_at_s")

    def __init__(self) -> None:
        self.events_full_at_s = self.requests_full_at_s = -math.inf

    def wait_s(self, share: _Share, requests: int, now_s: float) -> float:
        """How long it takes until there is something in both; below 0 there is."""
        events_s = self.events_full_at_s - now_s - share.events_last_s
        requests_s = self.requests_full_at_s - now_s - share.requests_last_s if requests else -math.inf
        return events_s if events_s > requests_s else requests_s

    def take(self, share: _Share, events: int, requests: int, now_s: float) -> None:
        self.events_full_at_s = max(self.events_full_at_s, now_s) + events / share.events_per_s
        self.requests_full_at_s = max(self.requests_full_at_s, now_s) + requests / share.requests_per_s


_of_keys: dict[str, _Buckets] = {}
_of_customers: dict[str, _Buckets] = {}
_lock = threading.Lock()


def admit(key: "ApiKey", *, events: int, now_s: float, requests: int = 1) -> float | None:
    """Lets a request in and counts it (None), or says how many seconds it has to wait; then nothing is counted.

    `now_s` is of a clock that never goes back. For any thread. A door that has to read a request before it knows its
    events asks before with `events=0` and then with `requests=0`.
    """
    refused = _refused(key, events, requests, now_s)
    return None if refused is None else refused[0]


def require_admission(key: "ApiKey", *, events: int, now_s: float, requests: int = 1) -> None:
    """As `admit`; raises Problem 429, with the time to wait and the limit in its headers, instead of answering."""
    refused = _refused(key, events, requests, now_s)
    if refused is None:
        return
    wait_s, limit = refused
    headers = {
        "RateLimit-Limit": str(limit.events_per_s or limit.requests_per_s),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(math.ceil(wait_s)),
    }
    raise too_many_requests(f"{_in_words(limit)} {NOTHING_STORED}", retry_after_s=wait_s, headers=headers)


def _in_words(limit: RateLimit) -> str:
    rates = [(limit.events_per_s, "events"), (limit.requests_per_s, "requests")]
    return f"At most {' and '.join(f'{rate:,} {what}' for rate, what in rates if rate)} a second."


def is_limited(key: "ApiKey") -> bool:
    """Whether there is any rate to keep to."""
    return any(_shares(key))


def _refused(key: "ApiKey", events: int, requests: int, now_s: float) -> tuple[float, RateLimit] | None:
    """How long to wait, and by which limit; None lets in."""
    own, of_all = _shares(key)
    if own is None and of_all is None:
        return None
    with _lock:
        asked = []
        if own is not None:
            asked.append((own, _buckets(_of_keys, key.lookup_id)))
        if of_all is not None and key.customer_key is not None:
            asked.append((of_all, _buckets(_of_customers, key.customer_key)))
        for share, buckets in asked:
            wait_s = buckets.wait_s(share, requests, now_s)
            if wait_s >= 0:
                return wait_s + _A_LITTLE_S, share.limit
        for share, buckets in asked:
            buckets.take(share, events, requests, now_s)
    return None


def _shares(key: "ApiKey") -> tuple[_Share | None, _Share | None]:
    """Of the key's own limit, and of that of all keys of its customer."""
    processes = settings.WEB_WORKERS
    own = _share(key.events_per_s, key.events_burst, key.requests_per_s, settings.RATE_LIMIT, processes)
    if key.customer_key is None:
        return own, None
    return own, _share(None, None, None, settings.CUSTOMER_RATE_LIMIT, processes)


def _buckets(kept: dict[str, _Buckets], name: str) -> _Buckets:
    """A bucket nobody has used is full."""
    return kept.get(name) or kept.setdefault(name, _Buckets())
