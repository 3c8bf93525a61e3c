"""A call's rate: the operator's before the catalogue's, then the newest start, the context step, the time of day."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import count

import pytest
from django.db import IntegrityError, connection

from metering.supplier_models import ALWAYS, SupplierRate
from metering.supplier_rates import RateBook, current_book, forget_book

JULY = datetime(2026, 7, 1, tzinfo=UTC)
NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
_ids = count(1)


def row(source: str, provider: str, model: str, usd: str = "1", **when: object) -> SupplierRate:
    price = Decimal(usd)
    return SupplierRate(
        **{"id": next(_ids), "starts_at": ALWAYS, "min_context": 0} | when,
        source=source,
        provider=provider,
        model=model,
        input_usd_per_million=price,
        cache_read_usd_per_million=price,
        cache_write_usd_per_million=price,
        output_usd_per_million=price,
    )


def found(rows: list[SupplierRate], provider: str, model: str, at: datetime = NOON, context: int = 100) -> int | None:
    rate = RateBook(rows).find(provider, model, at, context)
    return rate and rate.id


def test_a_model_nobody_prices_has_no_rate() -> None:
    rows = [row("catalogue", "openai", "gpt-4o")]
    assert found(rows, "openai", "no-such-model") is None
    assert found(rows, "nobody", "gpt-4o") is None


def test_a_dated_model_falls_under_its_catalogue_name() -> None:
    rows = [row("catalogue", "openai", "gpt-4o")]
    assert found(rows, "openai", "gpt-4o-2024-08-06") == rows[0].id


def test_the_operators_rate_wins_and_the_one_for_the_reported_name_first_of_all() -> None:
    public, negotiated, exact = rows = [
        row("catalogue", "openai", "gpt-4o"),
        row("operator", "openai", "gpt-4o"),
        row("operator", "openai", "gpt-4o-2024-08-06"),
    ]
    assert found(rows, "openai", "gpt-4o-2024-08-06") == exact.id
    assert found(rows, "openai", "gpt-4o-2024-11-20") == negotiated.id
    assert found([public], "openai", "gpt-4o-2024-11-20") == public.id


def test_a_rate_negotiated_with_openai_does_not_price_calls_to_azure() -> None:
    rows = [row("catalogue", "openai", "gpt-4o"), row("operator", "openai", "gpt-4o")]
    assert found(rows, "azure", "gpt-4o") == rows[0].id


def test_the_operator_can_price_a_model_the_catalogue_does_not_know() -> None:
    rows = [row("operator", "in-house", "acme-7b", usd="0")]
    assert found(rows, "in-house", "acme-7b") == rows[0].id


def test_before_the_operators_rate_begins_the_catalogue_holds() -> None:
    public, negotiated = rows = [
        row("catalogue", "openai", "gpt-4o"),
        row("operator", "openai", "gpt-4o", starts_at=JULY),
    ]
    assert found(rows, "openai", "gpt-4o", at=JULY - timedelta(microseconds=1)) == public.id
    assert found(rows, "openai", "gpt-4o", at=JULY) == negotiated.id


def test_a_call_before_the_first_start_is_unpriced() -> None:
    assert found([row("operator", "openai", "gpt-4o", starts_at=JULY)], "openai", "gpt-4o", at=ALWAYS) is None


def test_todays_price_does_not_reprice_last_month() -> None:
    old, new = rows = [row("catalogue", "openai", "gpt-4o"), row("catalogue", "openai", "gpt-4o", starts_at=JULY)]
    assert found(rows, "openai", "gpt-4o", at=JULY - timedelta(days=30)) == old.id
    assert found(rows, "openai", "gpt-4o", at=JULY) == new.id


def test_a_long_context_is_charged_whole_at_its_step() -> None:
    base, long = rows = [
        row("catalogue", "openai", "gpt-5", usd="1"),
        row("catalogue", "openai", "gpt-5", usd="2", min_context=200_001),
    ]
    assert found(rows, "openai", "gpt-5", context=200_000) == base.id
    assert found(rows, "openai", "gpt-5", context=200_001) == long.id


def test_a_newer_price_list_replaces_the_steps_of_the_older_one() -> None:
    rows = [
        row("catalogue", "openai", "gpt-5"),
        row("catalogue", "openai", "gpt-5", min_context=200_001),
        row("catalogue", "openai", "gpt-5", starts_at=JULY),
    ]
    assert found(rows, "openai", "gpt-5", context=300_000) == rows[2].id


@pytest.mark.parametrize(
    ("hour", "minute", "in_window"), [(0, 29, False), (0, 30, True), (16, 29, True), (16, 30, False)]
)
def test_a_daily_window_is_half_open(hour: int, minute: int, in_window: bool) -> None:
    rows = [
        row("catalogue", "deepseek", "deepseek-chat"),
        row("catalogue", "deepseek", "deepseek-chat", daily_from=time(0, 30), daily_to=time(16, 30)),
    ]
    at = NOON.replace(hour=hour, minute=minute)
    assert found(rows, "deepseek", "deepseek-chat", at=at) == rows[in_window].id


def test_a_daily_window_may_span_midnight_and_is_read_in_utc() -> None:
    rows = [
        row("operator", "openai", "gpt-4o"),
        row("operator", "openai", "gpt-4o", daily_from=time(22), daily_to=time(6)),
    ]
    tokyo = timezone(timedelta(hours=9))
    assert found(rows, "openai", "gpt-4o", at=datetime(2026, 7, 15, 8, tzinfo=tokyo)) == rows[1].id
    assert found(rows, "openai", "gpt-4o", at=datetime(2026, 7, 15, 15, tzinfo=tokyo)) == rows[0].id


@pytest.fixture
def fresh_book() -> Iterator[None]:
    forget_book()
    yield
    forget_book()


@pytest.mark.django_db
@pytest.mark.usefixtures("fresh_book")
def test_the_book_is_reloaded_when_a_rate_was_appended() -> None:
    assert current_book().find("openai", "gpt-4o", NOON, 0) is None
    appended = row("operator", "openai", "gpt-4o")
    appended.save(force_insert=True)
    forget_book()
    rate = current_book().find("openai", "gpt-4o", NOON, 0)
    assert rate is not None
    assert rate.id == appended.pk
    assert rate.input_atto == 10**12


@pytest.mark.django_db
@pytest.mark.usefixtures("fresh_book")
def test_the_table_is_looked_at_no_more_than_once_a_second() -> None:
    first = current_book()
    with connection.execute_wrapper(_no_query):
        assert all(current_book() is first for _ in range(100))


def _no_query(*_: object) -> None:
    raise AssertionError("asked the database")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "constraint"),
    [
        ([{}, {}], "supplier_rate_one_price_per_step"),
        ([{"source": "rumour"}], "supplier_rate_known_source"),
        ([{"daily_from": time(1)}], "supplier_rate_whole_daily_window"),
        ([{"daily_from": time(1), "daily_to": time(1)}], "supplier_rate_whole_daily_window"),
        ([{"output_usd_per_million": Decimal(-1)}], "supplier_rate_never_negative"),
    ],
)
def test_the_database_refuses_a_rate_that_makes_no_sense(rows: list[dict[str, object]], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        for fields in rows:
            rate = row("operator", "openai", "gpt-4o")
            for name, value in fields.items():
                setattr(rate, name, value)
            rate.save(force_insert=True)
