"""What do web processes count while they take usage in? Counters in the text format of Prometheus.

With PROMETHEUS_MULTIPROC_DIR in the environment every process counts in files there, and any of them answers for all;
without it a process answers for itself. The directory has to be emptied when the server starts.
"""

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_registry = CollectorRegistry()
_request = Histogram(
    "parley_request_seconds",
    "Requests answered: from the first look to the answer.",
    ["door", "status"],
    buckets=_SECONDS,
    registry=_registry,
)
_events = Counter("parley_events", "Events by what became of them.", ["door", "verdict"], registry=_registry)
_unpriced = Counter("parley_unpriced_events", "Events stored without a supplier rate.", registry=_registry)
_group = Histogram("parley_group_requests", "Requests committed together.", buckets=_REQUESTS, registry=_registry)

# Finding a counter by its labels takes longer than counting.
_request_of = cache(_request.labels)
_events_of = cache(_events.labels)


def count_request(door: str, status: int, seconds: float) -> None:
    """A request was answered after so many seconds."""
    _request_of(door, status).observe(seconds)


def count_requests(door: str, status: int, seconds: Sequence[float]) -> None:
    """As `count_request` for many at once, which the library has no word for: each of its counters is moved once."""
    histogram = _request_of(door, status)
    histogram._sum.inc(sum(seconds))
    for bucket, requests in Tally(bisect_left(_SECONDS, each) for each in seconds).items():
        histogram._buckets[bucket].inc(requests)


def count_verdicts(door: str, counts: Mapping[str, int]) -> None:
    """So many events of a request were accepted, duplicate, updated ..."""
    for verdict, count in counts.items():
        if count:
            _events_of(door, verdict).inc(count)


def count_refused(door: str, status: int) -> None:
    """A request was refused unread, which takes no time."""
    count_request(door, status, 0.0)


def count_group(requests: int) -> None:
    """So many requests were committed in one transaction."""
    _group.observe(requests)


def count_unpriced(events: int) -> None:
    """So many events were stored for which no supplier rate is known."""
    _unpriced.inc(events)


class _LookedUp(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def exposition(looked_up: Iterable[Metric] = ()) -> bytes:
    """Everything counted by all processes, and what was looked up beside it, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_LookedUp(looked_up))
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_registry)
    return generate_latest(registry)
