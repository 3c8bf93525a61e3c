"""What do the providers' public price lists say? Read from genai-prices, offline; its updater is never started.

Which catalogue model does a reported name mean (`canonical_model`), which dated price steps does the catalogue
hold (`catalogue_rates`), and which of them are new to the rate book (`sync_rates`)?

How the catalogue's rules become rows:
- of a model's conditional prices the last one active wins, so each start date opens a price list of its own, to
  which the daily windows that come later in its list belong;
- a context step applies to the whole call and begins *above* its threshold: `min_context` is the threshold plus one;
- cached tokens without a price of their own are charged as fresh input, as genai-prices does;
- a model without a price for output (embeddings, rerankers, deciders) is paid for its input alone: output is 0 there;
- a model without a price for input tokens (priced by the hour, page or character, or not at all) has no rows: its
  calls are unpriced, not free.
Not carried over, as our usage does not tell them apart: audio, image and video tokens, one-hour cache writes,
separately priced reasoning and citations, tool calls, batch and priority variants.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from typing import NamedTuple

from django.db import connection, transaction
from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from metering.supplier_models import ALWAYS, SupplierRate

_PRECISION = Decimal("1e-12")
_SYNC_LOCK = 0x5061726C65790001  # any number no other advisory lock of ours uses

# What OpenTelemetry and LiteLLM call a provider, where genai-prices does not know the name.
_PROVIDER_ALIASES = {
    "azure_ai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.inference": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}


class PriceNotRepresentable(ValueError):
    """A catalogue price would become zero, or overflow, in the precision of the rate book."""


class CatalogueModel(NamedTuple):
    """A reported model as the catalogue knows it.

    `provider` is who was called, `price_provider` whose price list holds the model: Azure's gpt-4o stands in OpenAI's.
    """

    provider: str
    price_provider: str
    model: str


class PriceStep(NamedTuple):
    """One price step: prices in USD per million tokens, windows in UTC time of day."""

    min_context: int
    daily_from: time | None
    daily_to: time | None
    input: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal
    per_request: Decimal | None


PriceList = frozenset[PriceStep]
"""All steps of one model that begin at one instant."""

DatedLists = Mapping[datetime, PriceList]


@lru_cache(maxsize=4096)
def canonical_model(provider: str, model: str) -> CatalogueModel | None:
    """The catalogue's name for a reported provider and model, or None if it knows no such model."""
    known = _provider_named(provider)
    if known is None:
        return None
    found = known.find_model(model, all_providers=_providers())
    if found is None:
        # LiteLLM writes the provider before the model (anthropic/claude-...), Google's SDK writes models/.
        prefix, slash, rest = model.partition("/")
        if not slash or (prefix != "models" and _provider_named(prefix) is not known):
            return None
        found = known.find_model(rest, all_providers=_providers())
    if found is None:
        return None
    return CatalogueModel(known.id, _owners()[id(found)], found.id)


@lru_cache(maxsize=4096)
def provider_of_model(model: str) -> str | None:
    """Whose model has this name, for calls that do not say whom they called; None where no provider claims it."""
    return next((known.id for known in _providers() if known.model_match and known.model_match.is_match(model)), None)


def catalogue_rates() -> dict[tuple[str, str], dict[datetime, PriceList]]:
    """Every price list of the catalogue: by (provider, model), then by the instant it starts."""
    lists = {}
    for provider in _providers():
        for model in provider.models:
            if dated := _dated_lists(model):
                lists[provider.id, model.id] = dated
    return lists


@cache
def _providers() -> list[Provider]:
    from genai_prices.data import providers  # half a second and 50 MB: only for a process that prices

    return providers


@cache
def _owners() -> dict[int, str]:
    return {id(model): provider.id for provider in _providers() for model in provider.models}


def _provider_named(name: str) -> Provider | None:
    return find_provider_by_id(_providers(), _PROVIDER_ALIASES.get(name.lower(), name))


def _dated_lists(model: ModelInfo) -> dict[datetime, PriceList]:
    conditional = model.prices
    if isinstance(conditional, ModelPrice):
        conditional = [ConditionalPrice(prices=conditional)]
    starts = {c.constraint.start_date for c in conditional if isinstance(c.constraint, StartDateConstraint)}
    dated = {}
    for start in [None, *sorted(starts)]:
        if steps := _list_in_force(conditional, start):
            dated[_instant(start)] = steps
    return dated


def _instant(start: date | None) -> datetime:
    return ALWAYS if start is None else datetime(start.year, start.month, start.day, tzinfo=UTC)


def _list_in_force(conditional: list[ConditionalPrice], start: date | None) -> PriceList:
    """The steps that apply from `start` on: the last dated price active then, and the daily windows after it."""
    standing = 0
    for index, price in enumerate(conditional):
        constraint = price.constraint
        if constraint is None or (
            isinstance(constraint, StartDateConstraint) and start is not None and constraint.start_date <= start
        ):
            standing = index
    priced: list[tuple[ModelPrice, time | None, time | None]] = [(conditional[standing].prices, None, None)]
    for price in conditional[standing + 1 :]:
        if isinstance(price.constraint, TimeOfDateConstraint):
            window = price.constraint
            priced.append((price.prices, _utc_time(window.start_time), _utc_time(window.end_time)))
    contexts = {0}.union(*(_contexts(prices) for prices, _, _ in priced))
    return frozenset(
        _step(prices, context, daily_from, daily_to)
        for prices, daily_from, daily_to in priced
        if prices.input_mtok is not None
        for context in contexts
    )


def _utc_time(of_day: time) -> time:
    if of_day.tzinfo is None:
        return of_day
    return datetime.combine(ALWAYS, of_day).astimezone(UTC).time()


def _contexts(prices: ModelPrice) -> set[int]:
    """The context sizes at which a price changes; genai-prices compares with `>`, the rate book with `>=`."""
    return {tier.start + 1 for p in vars(prices).values() if isinstance(p, TieredPrices) for tier in p.tiers}


def _step(prices: ModelPrice, context: int, daily_from: time | None, daily_to: time | None) -> PriceStep:
    free = Decimal(0)
    fresh = _price_at(prices.input_mtok, context, otherwise=free)
    per_thousand = prices.requests_kcount
    return PriceStep(
        min_context=context,
        daily_from=daily_from,
        daily_to=daily_to,
        input=fresh,
        cache_read=_price_at(prices.cache_read_mtok, context, otherwise=fresh),
        cache_write=_price_at(prices.cache_write_mtok, context, otherwise=fresh),
        output=_price_at(prices.output_mtok, context, otherwise=free),
        per_request=None if per_thousand is None else _price_at(per_thousand, context, otherwise=free) / 1000,
    )


def _price_at(price: Decimal | TieredPrices | None, context: int, *, otherwise: Decimal) -> Decimal:
    if price is None:
        return otherwise
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if context > tier.start]
        price = reached[-1] if reached else price.base
    return _storable(price)


def _storable(price: Decimal) -> Decimal:
    """Rounded to the rate book's 12 decimals: the catalogue holds floats such as 0.18000000000000002."""
    rounded = price.quantize(_PRECISION)
    if price and (not rounded or rounded >= 1_000_000):
        raise PriceNotRepresentable(f"{price} USD per million tokens")
    return rounded


def sync_rates(now: datetime) -> int:
    """Append the catalogue's new prices to the rate book; the number of rows added. One sync at a time."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SYNC_LOCK])
        stored = _stored_lists()
        rows = [
            _row(provider, model, starts_at, step)
            for (provider, model), wanted in catalogue_rates().items()
            for starts_at, steps in additions(stored.get((provider, model), {}), wanted, now).items()
            for step in sorted(steps, key=lambda step: (step.min_context, str(step.daily_from)))
        ]
        SupplierRate.objects.bulk_create(rows, batch_size=1000)
    return len(rows)


def additions(stored: DatedLists, wanted: DatedLists, now: datetime) -> DatedLists:
    """The price lists of one model that must be appended so that `wanted` is in force from now on.

    A list is added with its own start where none begins at that instant. Where the list in force differs from the
    wanted one (a newer catalogue corrected a price), the wanted one starts now: what was costed keeps its rate. A price
    announced for a later day and then announced differently is corrected by the first sync after that day.
    """
    added = {start: steps for start, steps in wanted.items() if start not in stored}
    in_force = _in_force(wanted, now)
    if in_force is not None and _in_force({**stored, **added}, now) != in_force:
        added[now] = in_force
    return added


def _in_force(lists: DatedLists, at: datetime) -> PriceList | None:
    start = max((start for start in lists if start <= at), default=None)
    return None if start is None else lists[start]


def _stored_lists() -> dict[tuple[str, str], dict[datetime, PriceList]]:
    steps: defaultdict[tuple[str, str], defaultdict[datetime, set[PriceStep]]]
    steps = defaultdict(lambda: defaultdict(set))
    for row in SupplierRate.objects.filter(source=SupplierRate.Source.CATALOGUE).iterator(chunk_size=2000):
        steps[row.provider, row.model][row.starts_at].add(
            PriceStep(
                min_context=row.min_context,
                daily_from=row.daily_from,
                daily_to=row.daily_to,
                input=row.input_usd_per_million,
                cache_read=row.cache_read_usd_per_million,
                cache_write=row.cache_write_usd_per_million,
                output=row.output_usd_per_million,
                per_request=row.usd_per_request,
            )
        )
    return {model: {start: frozenset(listed) for start, listed in dated.items()} for model, dated in steps.items()}


def _row(provider: str, model: str, starts_at: datetime, step: PriceStep) -> SupplierRate:
    return SupplierRate(
        source=SupplierRate.Source.CATALOGUE,
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
