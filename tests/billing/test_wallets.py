"""Which credit pays which bill, how much of it, and what becomes of it when the bill is taken back."""

import datetime as dt

import pytest

from billing import wallets
from billing.finalizing import finalize_invoice
from billing.models import Grant, Invoice, InvoiceStatus, LineKind
from tests.billing.books import DEC_2, GRACE, JAN_2, balance, billed, conversations, happened
from tests.billing.purse import billed_once, bought, drafted, drawn, left, pay, prepaid, present, state, used, voided
from tests.cast import NOON, a_plan, acme, bolt, subscribed

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def with_fifth(subtotal: int) -> int:
    """A tax of a fifth."""
    return subtotal + subtotal // 5


# What it pays


def test_promotional_credit_lowers_the_subtotal_and_prepaid_credit_pays() -> None:
    present(300)
    prepaid(5_000)
    invoice = billed_once(1_000)
    credit = invoice.lines.get(kind=LineKind.CREDIT)
    assert (credit.amount, credit.position) == (-300, 1)
    assert (invoice.subtotal, invoice.prepaid_applied, invoice.amount_due, invoice.status) == (700, 700, 0, "paid")
    assert drawn(invoice) == {"Welcome": 300, "Prepaid": 700}


def test_what_credit_does_not_cover_is_due() -> None:
    grant = prepaid(400)
    invoice = billed_once(1_000)
    assert (invoice.prepaid_applied, invoice.amount_due, invoice.status) == (400, 600, "finalized")
    assert (left(grant), used(grant), state(grant)) == (0, 400, "used")


def test_promotional_credit_saves_the_tax_on_it_and_prepaid_credit_does_not() -> None:
    present(500)
    prepaid(10_000)
    draws = wallets.draws_for(drafted(1_000), 1_000, with_fifth, NOON)
    assert [(grant.kind, amount) for grant, amount in draws] == [("promotional", 500), ("paid", 600)]


def test_what_is_used_first_follows_priority_expiry_kind_and_age() -> None:
    soon, later = NOON + DAY, NOON + 2 * DAY
    prepaid(1, name="oldest")
    prepaid(1, name="old", now=NOON + dt.timedelta(seconds=1))
    present(1, name="present")
    prepaid(1, name="soon", expires_at=soon)
    present(1, name="later", expires_at=later)
    prepaid(1, name="first", priority=49)
    draws = wallets.draws_for(drafted(100, now=NOON), 100, lambda subtotal: subtotal, NOON + dt.timedelta(minutes=1))
    assert [grant.name for grant, _ in draws] == ["first", "soon", "later", "present", "oldest", "old"]


def test_nothing_is_taken_for_an_invoice_that_comes_to_nothing_or_less() -> None:
    prepaid(100)
    draft = drafted(0)
    assert [wallets.draws_for(draft, subtotal, lambda net: net, NOON) for subtotal in (0, -500)] == [[], []]


def test_only_what_can_be_paid_in_the_currency_is_taken() -> None:
    customer = bolt(currency="ISK")
    prepaid(700, customer)
    draws = wallets.draws_for(drafted(1_000, customer), 550, lambda net: net, NOON)
    assert [amount for _, amount in draws] == [500]


# What may pay


def test_only_the_customers_own_credit_pays() -> None:
    prepaid(1_000, bolt())
    assert billed_once(500).amount_due == 500


@pytest.mark.parametrize("fields", [{"effective_at": NOON + DAY}, {"paid": "invoice"}])
def test_credit_that_is_not_there_yet_pays_nothing(fields: dict[str, object]) -> None:
    grant = prepaid(1_000, **fields)
    assert billed_once(500).amount_due == 500
    assert used(grant) == 0


def test_a_one_off_invoice_is_paid_by_credit_valid_since_it_was_drafted() -> None:
    draft = drafted(300)
    prepaid(100, name="while it lasts", expires_at=NOON + DAY)
    prepaid(100, name="since then", now=NOON + 2 * DAY)
    prepaid(100, name="not yet", effective_at=NOON + 4 * DAY)
    invoice = finalize_invoice(draft.pk, now=NOON + 3 * DAY)
    assert drawn(invoice) == {"while it lasts": 100, "since then": 100}


def test_credit_that_expired_before_a_one_off_invoice_was_drafted_pays_nothing_of_it() -> None:
    prepaid(100, expires_at=NOON + DAY)
    assert drawn(billed_once(100, now=NOON + DAY)) == {}


@pytest.mark.parametrize(
    ("effective_at", "expires_at", "pays"),
    [
        (NOON, NOON + DAY, True),
        (DEC_2 - DAY, DEC_2, True),
        (DEC_2, None, False),
        (NOON - 9 * DAY, NOON + dt.timedelta(microseconds=1), True),
    ],
)
def test_a_period_is_paid_by_credit_that_was_valid_at_any_moment_of_it(
    effective_at: dt.datetime, expires_at: dt.datetime | None, pays: bool
) -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    present(100, effective_at=effective_at, expires_at=expires_at)
    happened(*conversations(4, tier="enterprise"), now=NOON)
    (invoice,) = billed(DEC_2 + GRACE)
    assert sum(drawn(invoice).values()) == (100 if pays else 0)


def test_credit_that_expired_with_the_last_period_pays_nothing_of_the_next() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    present(100, expires_at=DEC_2)
    happened(*conversations(4, DEC_2, tier="enterprise"), now=DEC_2)
    invoices = billed(JAN_2 + GRACE)
    assert [drawn(invoice) for invoice in invoices] == [{}, {}]
    assert invoices[-1].amount_due == 200


# Top-ups


def test_a_top_up_is_usable_once_it_is_paid() -> None:
    grant = bought(2_000)
    assert (state(grant), left(grant), balance(acme(), "pending")) == ("pending", 0, -2_000)
    pay(grant.invoice)
    assert (state(grant), left(grant), balance(acme(), "pending")) == ("active", 2_000, 0)
    assert billed_once(500).status == "paid"


def test_a_top_up_comes_once_however_often_its_payment_is_heard_of() -> None:
    grant = bought(2_000)
    pay(grant.invoice)
    wallets.invoice_paid(Invoice.objects.get(), at=NOON + DAY)
    assert left(grant) == 2_000
    assert Grant.objects.get().usable_at == NOON


def test_a_top_up_that_is_voided_never_becomes_credit() -> None:
    grant = bought(2_000)
    voided(grant.invoice)
    assert (state(grant), left(grant), balance(acme(), "pending")) == ("void", 0, 0)


def test_a_top_up_is_not_paid_with_credit_nor_earned_by_selling_it() -> None:
    present(500)
    prepaid(500)
    grant = bought(2_000)
    assert grant.invoice is not None
    assert (grant.invoice.amount_due, balance(acme(), "revenue")) == (2_000, 0)
    assert drawn(grant.invoice) == {}


@pytest.mark.parametrize("heard", [wallets.invoice_paid, wallets.invoice_voided])
def test_what_happens_to_other_invoices_is_no_matter_of_the_wallet(heard) -> None:  # type: ignore[no-untyped-def]
    grant = prepaid(100)
    heard(billed_once(500), at=NOON)
    assert (left(grant), state(grant)) == (0, "used")


# Taking back


def test_a_voided_invoice_gives_all_it_took_back_to_the_grants() -> None:
    grants = [present(300), prepaid(400)]
    invoice = billed_once(1_000)
    voided(invoice)
    assert [(left(grant), used(grant)) for grant in grants] == [(300, 0), (400, 0)]
    assert (balance(acme(), "revenue"), balance(acme(), "receivable"), balance(acme(), "promotion")) == (0, 0, 300)


def test_what_a_voided_invoice_gave_back_pays_the_next() -> None:
    prepaid(400)
    voided(billed_once(1_000))
    assert billed_once(400).status == "paid"


# What is there


def test_a_wallet_holds_what_can_be_used_now_what_is_owed_and_what_is_bought() -> None:
    prepaid(100)
    present(30, expires_at=NOON + DAY)
    prepaid(7, effective_at=NOON + DAY)
    bought(5_000)
    prepaid(9_000, bolt())
    assert wallets.balance(acme(), at=NOON) == wallets.Balance(usable=130, lapsed=0, pending=5_000, credit=0)
    assert wallets.balance(acme(), at=NOON + DAY).usable == 107


def test_a_top_up_that_was_given_up_is_not_awaited_any_more() -> None:
    bought(5_000)
    Invoice.objects.update(status=InvoiceStatus.UNCOLLECTIBLE)
    assert wallets.balance(acme(), at=NOON).pending == 0


def test_what_has_lapsed_is_still_there_for_the_usage_of_a_period_that_is_not_invoiced() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    present(30, expires_at=NOON + DAY)
    assert wallets.balance(acme(), at=NOON + 2 * DAY)[:2] == (0, 30)
    billed(DEC_2 + GRACE)
    assert wallets.balance(acme(), at=DEC_2 + GRACE)[:2] == (0, 0)
