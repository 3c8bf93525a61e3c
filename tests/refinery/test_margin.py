"""What is left of an invoice after what its conversations cost us? Unknown is never taken for nothing."""

from decimal import Decimal

import pytest

from metering.models import SupplierRate
from metering.supplier_rates import forget_book
from refinery.margin import Margin, TierCost, invoice_margin
from tests.billing.books import DEC_2, GRACE, billed, conversation, happened
from tests.cast import NOON, a_plan, acme, report, subscribed

pytestmark = pytest.mark.django_db
KNOWN = {"provider": "openai", "model": "ours"}


@pytest.fixture(autouse=True)
def a_dollar_for_a_thousand_tokens(db):
    prices = {f"{bucket}_usd_per_million": 1_000 for bucket in ("input", "cache_read", "cache_write", "output")}
    SupplierRate.objects.create(source="operator", **KNOWN, starts_at=NOON.replace(year=1970), **prices)
    forget_book()
    yield
    forget_book()


def margin_of_november(*reports) -> Margin:
    subscribed(acme(), a_plan())
    happened(*reports, now=NOON.replace(day=20))
    *_, invoice = billed(DEC_2 + GRACE)
    return invoice_margin(invoice)


def test_the_margin_is_what_the_invoice_leaves_of_the_supplier_cost():
    margin = margin_of_november(conversation("a", **KNOWN), conversation("b", tier="standard", **KNOWN))
    assert margin.revenue == 4900 + 2 + 5
    assert margin.cost_nanos == 6_000_000_000
    assert margin.share == 1 - Decimal(6) / Decimal("49.07")


def test_the_cost_of_retries_and_errors_is_shown_as_waste():
    first, failed = conversation("a", **KNOWN), report("a-2", 1.1, conversation="a", status="error", **KNOWN)
    margin = margin_of_november(first, failed)
    assert margin.tiers == [TierCost("simple", 1, 2, 2_000_000_000, 1_000_000_000, 0)]
    assert margin.retry_nanos == 1_000_000_000


def test_with_a_call_that_nobody_can_price_the_margin_is_unknown():
    margin = margin_of_november(conversation("a", **KNOWN), conversation("b"))
    assert (margin.unpriced_calls, margin.share) == (1, None)
