"""The rate book says what genai-prices says, for every model it prices, and never edits what it said before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider, TieredPrices, Usage

from metering.catalogue import (
    PriceList,
    PriceNotRepresentable,
    PriceStep,
    _storable,
    additions,
    canonical_model,
    catalogue_rates,
    sync_rates,
)
from metering.costing import cost_nanos
from metering.supplier_models import ALWAYS, SupplierRate
from metering.supplier_rates import RateBook

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(days=30)

# fresh, cache read, cache write, output: small, cached, both sides of every usual context threshold, large
USAGES = [
    (1, 0, 0, 1),
    (86, 1_920, 0, 300),
    (21, 4_096, 188_086, 393),
    (200_000, 0, 0, 1_000),
    (199_999, 1, 1, 1_000),
    (100_000, 172_000, 0, 7),
    (100_000, 172_000, 1, 7),
    (900_000, 50_000, 50_000, 64_000),
]
# before every start date, at and just before recent ones, and within daily windows
INSTANTS = [
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(2025, 6, 1, 0, 29, 59, 999_999, tzinfo=UTC),
    datetime(2025, 6, 1, 0, 30, tzinfo=UTC),
    datetime(2026, 8, 16, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 8, 17, 2, tzinfo=UTC),
    datetime(2026, 11, 9, 10, tzinfo=UTC),
    datetime(2027, 1, 1, 16, 30, tzinfo=UTC),
]


def all_models() -> Iterator[tuple[Provider, ModelInfo]]:
    return ((provider, model) for provider in providers for model in provider.models)


def rows(source: str = "catalogue") -> list[SupplierRate]:
    """The catalogue as rows that no database has seen."""
    return [
        SupplierRate(
            id=number,
            source=source,
            provider=provider,
            model=model,
            starts_at=starts_at,
            min_context=step.min_context,
            daily_from=step.daily_from,
            daily_to=step.daily_to,
            input_usd_per_million=step.input,
            cache_read_usd_per_million=step.cache_read,
            cache_write_usd_per_million=step.cache_write,
            output_usd_per_million=step.output,
            usd_per_request=step.per_request,
        )
        for number, (provider, model, starts_at, step) in enumerate(
            (provider, model, starts_at, step)
            for (provider, model), lists in catalogue_rates().items()
            for starts_at, steps in lists.items()
            for step in steps
        )
    ]


@pytest.fixture(scope="module")
def book() -> RateBook:
    return RateBook(rows())


def test_every_call_costs_what_genai_prices_says(book: RateBook) -> None:
    compared = 0
    for provider, model in all_models():
        schedules = book._schedules.get(("catalogue", provider.id, model.id))
        if schedules is None:
            continue
        for instant in INSTANTS if isinstance(model.prices, list) else INSTANTS[:1]:
            prices = model.get_prices(instant)
            for fresh, read, write, output in USAGES:
                usage = Usage(
                    input_tokens=fresh + read + write,
                    cache_read_tokens=read,
                    cache_write_tokens=write,
                    output_tokens=output,
                )
                rate = schedules.find(instant, fresh + read + write)
                assert rate is not None
                ours = cost_nanos(rate, fresh, read, write, output)
                theirs = prices.calc_price(usage)["total_price"] * 10**9
                assert abs(ours - theirs) <= 1, (provider.id, model.id, instant, fresh, read, write, output)
                compared += 1
    assert compared > 25_000


def test_every_threshold_is_passed_exactly_one_token_above_it(book: RateBook) -> None:
    passed = 0
    for provider, model in all_models():
        prices = model.get_prices(NOW)
        if not isinstance(prices.input_mtok, TieredPrices):
            continue
        for tier in prices.input_mtok.tiers:
            for context in (tier.start, tier.start + 1):
                rate = book._schedules["catalogue", provider.id, model.id].find(NOW, context)
                assert rate is not None
                theirs = prices.calc_price(Usage(input_tokens=context, output_tokens=0))["total_price"]
                assert cost_nanos(rate, context, 0, 0, 0) == theirs * 10**9
            passed += 1
    assert passed > 100


def test_a_name_the_catalogue_itself_uses_finds_the_model_genai_prices_finds(book: RateBook) -> None:
    for provider, model in all_models():
        found = provider.find_model(model.id, all_providers=providers)
        known = canonical_model(provider.id, model.id)
        assert (known and known.model) == (found and found.id), (provider.id, model.id)


def test_a_model_without_a_price_for_tokens_is_unpriced_and_not_free() -> None:
    listed = catalogue_rates()
    for provider, model in all_models():
        if (provider.id, model.id) not in listed:
            assert model.get_prices(NOW).input_mtok is None
    assert sum(1 for _ in all_models()) - len(listed) == 205
    assert ("openrouter", "deepseek/deepseek-r1:free") not in listed


def test_the_only_models_that_price_reasoning_apart_are_known() -> None:
    """Their reasoning is charged at the price of output, as our usage counts it there: 8 USD for 3."""
    apart = {(p.id, m.id) for p, m in all_models() if m.get_prices(NOW).output_reasoning_mtok is not None}
    assert apart == {("openrouter", "perplexity/sonar-deep-research"), ("perplexity", "sonar-deep-research")}


def test_the_only_models_that_price_requests_are_charged_for_them() -> None:
    priced = {
        model: step.per_request
        for (_, model), lists in catalogue_rates().items()
        for steps in lists.values()
        for step in steps
        if step.per_request is not None
    }
    assert priced["sonar"] == Decimal("0.012")
    assert priced.keys() == {"sonar", "sonar-pro", "sonar-reasoning", "sonar-reasoning-pro"}


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o-2024-08-06", ("openai", "openai", "gpt-4o")),
        ("OpenAI", "GPT-5", ("openai", "openai", "gpt-5")),
        ("anthropic", "claude-opus-4-5-20251101", ("anthropic", "anthropic", "claude-opus-4-5")),
        ("anthropic", "anthropic/claude-sonnet-4-20250514", ("anthropic", "anthropic", "claude-sonnet-4-0")),
        ("azure", "gpt-4o", ("azure", "openai", "gpt-4o")),
        ("gcp.gemini", "models/gemini-2.5-flash", ("google", "google", "gemini-2.5-flash")),
        ("gemini", "gemini/gemini-2.5-pro", ("google", "google", "gemini-2.5-pro")),
        ("openrouter", "openrouter/deepseek/deepseek-r1", ("openrouter", "openrouter", "deepseek/deepseek-r1")),
        ("openai", "no-such-model", None),
        ("openai", "anthropic/claude-sonnet-4-20250514", None),
        ("nobody", "gpt-4o", None),
    ],
)
def test_a_reported_model_is_known_by_its_catalogue_name(
    provider: str, model: str, expected: tuple[str, str, str] | None
) -> None:
    assert canonical_model(provider, model) == expected


def test_bedrock_ids_and_arns_are_known() -> None:
    claude = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{claude}"
    assert canonical_model("aws.bedrock", claude) == canonical_model("bedrock", arn) is not None


def test_a_price_with_the_noise_of_a_float_is_stored_as_meant() -> None:
    assert _storable(Decimal("0.18000000000000002")) == Decimal("0.18")


def test_a_price_too_small_to_store_is_refused_and_not_made_free() -> None:
    with pytest.raises(PriceNotRepresentable):
        _storable(Decimal("4e-13"))


def priced(usd: str) -> PriceList:
    price = Decimal(usd)
    return frozenset({PriceStep(0, None, None, price, price, price, price, None)})


def test_an_empty_book_takes_every_price_with_its_own_start() -> None:
    wanted = {ALWAYS: priced("3"), NOW: priced("2"), LATER: priced("1")}
    assert additions({}, wanted, NOW) == wanted


def test_an_unchanged_price_adds_nothing() -> None:
    wanted = {ALWAYS: priced("3")}
    assert additions(wanted, wanted, NOW) == {}


def test_a_corrected_price_starts_now_and_is_added_once() -> None:
    stored = {ALWAYS: priced("3")}
    wanted = {ALWAYS: priced("2.50")}
    added = additions(stored, wanted, NOW)
    assert added == {NOW: priced("2.50")}
    assert additions({**stored, **added}, wanted, LATER) == {}


def test_a_price_change_learnt_of_late_keeps_its_own_start() -> None:
    changed = NOW - timedelta(days=10)
    assert additions({ALWAYS: priced("3")}, {ALWAYS: priced("3"), changed: priced("2")}, NOW) == {changed: priced("2")}


def test_a_price_change_learnt_of_after_a_correction_still_ends_at_the_right_price() -> None:
    stored = {ALWAYS: priced("3"), NOW: priced("2.50")}
    wanted = {ALWAYS: priced("3"), NOW - timedelta(days=10): priced("2")}
    assert additions(stored, wanted, LATER) == {NOW - timedelta(days=10): priced("2"), LATER: priced("2")}


@pytest.mark.django_db
def test_syncing_twice_adds_nothing_the_second_time() -> None:
    assert sync_rates(NOW) == SupplierRate.objects.count() == len(rows())
    assert sync_rates(LATER) == 0


@pytest.mark.django_db
def test_a_stored_price_that_differs_is_followed_by_a_row_starting_now_and_never_edited() -> None:
    sync_rates(NOW)
    SupplierRate.objects.filter(provider="openai", model="gpt-4o").update(input_usd_per_million=Decimal("99"))
    before = list(SupplierRate.objects.order_by("id").values())
    assert sync_rates(LATER) == 1
    assert list(SupplierRate.objects.order_by("id").values())[:-1] == before
    newest = SupplierRate.objects.latest("id")
    assert (newest.model, newest.starts_at, newest.input_usd_per_million) == ("gpt-4o", LATER, Decimal("2.5"))


@pytest.mark.django_db
def test_the_command_prints_how_many_rates_are_new(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync_rates")
    call_command("sync_rates")
    assert capsys.readouterr().out == f"{len(rows())} new supplier rates\n0 new supplier rates\n"
