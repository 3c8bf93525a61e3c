"""Which rate does a call fall under? The rate book: every supplier price in memory, looked up once per event.

The operator's own rates come first, those for exactly the reported provider and model before those for the model's
catalogue name; the public price list comes last. Within one of these the newest price list that had started counts,
then the context step, then the time of day. No rate means unpriced: the caller stores NULL, never zero.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from time import monotonic
from typing import NamedTuple

from django.db.models import Count, Max

from metering.catalogue import canonical_model
from metering.costing import Rate, atto_per_request, atto_per_token
from metering.supplier_models import SupplierRate

_CHECK_EVERY_S = 1.0


class _Step(NamedTuple):
    """A rate and when it applies within its price list."""

    min_context: int
    daily_from: time | None
    daily_to: time | None
    rate: Rate

    def precedence(self) -> tuple[int, bool, time]:
        return self.min_context, self.daily_from is not None, self.daily_from or time.min

    def applies(self, at: datetime) -> bool:
        if self.daily_from is None or self.daily_to is None:
            return True
        of_day = at.astimezone(UTC).time()
        if self.daily_to < self.daily_from:
            return of_day >= self.daily_from or of_day < self.daily_to
        return self.daily_from <= of_day < self.daily_to


class _Schedule:
    """The price lists of one source and model, by start."""

    def __init__(self, rows: Iterable[SupplierRate]) -> None:
        lists: defaultdict[datetime, list[_Step]] = defaultdict(list)
        for row in rows:
            lists[row.starts_at].append(_Step(row.min_context, row.daily_from, row.daily_to, _rate(row)))
        self._starts = sorted(lists)
        # Greatest step first; within a step the daily windows before the row that always applies.
        self._lists = [sorted(lists[start], key=_Step.precedence, reverse=True) for start in self._starts]

    def find(self, occurred_at: datetime, context_tokens: int) -> Rate | None:
        index = bisect_right(self._starts, occurred_at) - 1
        if index < 0:
            return None
        for step in self._lists[index]:
            if step.min_context <= context_tokens and step.applies(occurred_at):
                return step.rate
        return None


class RateBook:
    """All supplier rates at one moment. Immutable: a changed table makes a new book."""

    def __init__(self, rows: Iterable[SupplierRate]) -> None:
        grouped: defaultdict[tuple[str, str, str], list[SupplierRate]] = defaultdict(list)
        for row in rows:
            grouped[row.source, row.provider, row.model].append(row)
        self._schedules = {key: _Schedule(group) for key, group in grouped.items()}
        self._schedules_for = lru_cache(maxsize=4096)(self._resolve)

    def find(self, provider: str, model: str, occurred_at: datetime, context_tokens: int) -> Rate | None:
        """The rate of a call, or None if it is unpriced.

        `occurred_at` is aware; `context_tokens` are fresh + cache read + cache write input tokens.
        """
        for schedule in self._schedules_for(provider, model):
            rate = schedule.find(occurred_at, context_tokens)
            if rate is not None:
                return rate
        return None

    def _resolve(self, provider: str, model: str) -> tuple[_Schedule, ...]:
        """The schedules that may price a reported model, the one that wins first."""
        keys = [(SupplierRate.Source.OPERATOR.value, provider, model)]
        known = canonical_model(provider, model)
        if known is not None:
            keys.append((SupplierRate.Source.OPERATOR.value, known.provider, known.model))
            keys.append((SupplierRate.Source.CATALOGUE.value, known.price_provider, known.model))
        return tuple(self._schedules[key] for key in dict.fromkeys(keys) if key in self._schedules)


def _rate(row: SupplierRate) -> Rate:
    return Rate(
        id=row.pk,
        input_atto=atto_per_token(row.input_usd_per_million),
        cache_read_atto=atto_per_token(row.cache_read_usd_per_million),
        cache_write_atto=atto_per_token(row.cache_write_usd_per_million),
        output_atto=atto_per_token(row.output_usd_per_million),
        request_atto=atto_per_request(row.usd_per_request or Decimal(0)),
    )


class _Loaded(NamedTuple):
    book: RateBook
    fingerprint: tuple[int, int]
    checked_s: float


_loaded: _Loaded | None = None


def current_book() -> RateBook:
    """The rate book as of at most a second ago; shared by the threads of this process."""
    global _loaded
    loaded, now_s = _loaded, monotonic()
    if loaded is not None and now_s - loaded.checked_s < _CHECK_EVERY_S:
        return loaded.book
    fingerprint = _fingerprint()
    if loaded is not None and loaded.fingerprint == fingerprint:
        book = loaded.book  # nothing was appended since
    else:
        book = RateBook(SupplierRate.objects.all())
    _loaded = _Loaded(book, fingerprint, now_s)
    return book


def forget_book() -> None:
    """Make the next `current_book` look at the table: for whoever has just written rates."""
    global _loaded
    _loaded = None


def _fingerprint() -> tuple[int, int]:
    """Rows are only ever appended; the count also shows a row whose id is older than one already seen."""
    table = SupplierRate.objects.aggregate(rows=Count("id"), newest=Max("id"))
    return table["rows"], table["newest"] or 0
