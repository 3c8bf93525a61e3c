"""Lists are filtered by what an operator looks for, and a longer one takes no more queries."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import wallets
from billing.coupons import archive_coupon
from billing.credit_notes import credit_note
from billing.expiring import expire_grants
from billing.granting import void_grant
from billing.models import (
    Account,
    Coupon,
    CreditNote,
    CreditNoteLine,
    Grant,
    Invoice,
    InvoiceLine,
    Redemption,
    TopUpRule,
    Transfer,
)
from billing.reissuing import reissue
from billing.topping_up import set_rule
from console.links import rows_url
from console.prepaid import grant_states
from plans.customers import create_customer
from plans.models import Subscription, SubscriptionPhase
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.drafts import a_paid_invoice
from tests.billing.purse import billed_once, bought, drafted, prepaid, present
from tests.cast import NOON, a_plan, acme, subscribed
from tests.console.test_access import row_url
from tests.console.test_following import read
from tests.rest import LONG_AGO

pytestmark = pytest.mark.django_db
MUCH = [
    Coupon,
    CreditNote,
    CreditNoteLine,
    Grant,
    Invoice,
    InvoiceLine,
    Redemption,
    TopUpRule,
    Transfer,
    Account,
    Subscription,
    SubscriptionPhase,
]


def listed(desk, model, **query) -> set[str]:
    return {str(row) for row in desk.get(rows_url(model, **query)).context["cl"].queryset}


def a_busy_customer(number: int) -> None:
    """One row or more in every list."""
    customer = create_customer(key=f"customer {number}", currency="USD", now=NOON)
    redeemed(a_coupon(f"C{number}"), subscribed(customer, a_plan(f"plan-{number}")))
    prepaid(300, customer)
    present(100, customer)
    set_rule(customer, below=100, up_to=200, cool_off=dt.timedelta(hours=1), now=NOON)
    credit_note(a_paid_invoice(1_000, 500, customer=customer), reason="Goodwill", now=NOON)


def test_staff_looks_at_every_row_without_further_permission(looker):
    a_busy_customer(1)
    for model in MUCH:
        assert looker.get(row_url(model.objects.first())).status_code == 200, model


def test_nobody_changes_or_deletes_a_row(desk):
    a_busy_customer(1)
    for model in MUCH:
        for action in ("change", "delete"):
            assert desk.post(row_url(model.objects.first(), action), {"post": "yes"}).status_code == 403, model


def test_a_longer_list_takes_no_more_queries(desk, django_assert_max_num_queries):
    a_busy_customer(1), a_busy_customer(2)
    taken = {}
    for model in MUCH:
        with CaptureQueriesContext(connection) as queries:
            read(desk, rows_url(model))
        taken[model] = len(queries)
    a_busy_customer(3), a_busy_customer(4)
    for model in MUCH:
        with django_assert_max_num_queries(taken[model]):
            assert read(desk, rows_url(model)), model
    assert max(taken.values()) <= 8


def test_pages_take_no_query_a_row(desk, django_assert_max_num_queries):
    subscription = subscribed(acme(), a_plan())
    for number in range(12):
        present(100, name=f"Present {number}")
        redeemed(a_coupon(f"C{number}"), subscription)
    invoice = a_paid_invoice(*[1_000] * 20)
    for _ in range(6):
        credit_note(invoice, reason="Goodwill", amount=700, now=NOON)
    for page, most in ((acme(), 17), (invoice, 20), (invoice.credit_notes.first(), 10), (subscription, 11)):
        with django_assert_max_num_queries(most):
            read(desk, row_url(page))


def test_every_state_filters_the_grants_that_are_said_to_be_in_it():
    days = [NOON + dt.timedelta(days=day) for day in range(12)]
    present(100, name="used up")
    billed_once(100)
    present(100, expires_at=days[3]), present(100, effective_at=days[5], expires_at=days[9])
    void_grant(prepaid(100), now=NOON), bought(100), prepaid(100)
    expire_grants(as_of=days[4], now=days[4])
    for now in days:
        for state, condition in grant_states(now).items():
            grants = Grant.objects.select_related("account")
            said = {grant for grant in grants if wallets.state(grant, now=now) == state}
            assert set(Grant.objects.filter(condition)) == said, (state, now)


def test_invoices_are_found_by_what_they_wait_for_and_how_they_were_corrected(desk):
    draft, owed, wrong = drafted(100), billed_once(200), billed_once(300)
    right = reissue(wrong.pk, reason="an old address", now=NOON)
    Invoice.objects.filter(pk=draft.pk).update(finalize_at=NOON)
    credit_note(owed, reason="Goodwill", amount=50, now=NOON)
    assert listed(desk, Invoice, waits="to be taxed by Stripe") == {str(draft)}
    assert listed(desk, Invoice, waits="to be finalized") == {str(right)}
    assert (
        listed(desk, Invoice, waits="to be paid") == {str(owed)} == listed(desk, Invoice, corrected="by a credit note")
    )
    assert listed(desk, Invoice, corrected="issued again") == {str(wrong)}
    assert listed(desk, Invoice, corrected="in place of another") == {str(right)}


def test_credit_notes_are_found_by_where_the_money_went(desk):
    owed, paid = billed_once(1_000), a_paid_invoice(1_000)
    lowered = credit_note(owed, reason="Goodwill", amount=100, now=NOON)
    refunded = credit_note(paid, reason="Goodwill", amount=100, to="refund", now=NOON)
    kept = credit_note(paid, reason="Goodwill", amount=100, now=NOON)
    CreditNote.objects.filter(pk=refunded.pk).update(refund_status="failed")
    assert listed(desk, CreditNote, went="off what was due") == {lowered.number}
    assert (
        listed(desk, CreditNote, went="refunded") == {refunded.number} == listed(desk, CreditNote, went="refund failed")
    )
    assert listed(desk, CreditNote, went="to the balance") == {kept.number}
    assert listed(desk, CreditNote, state="due") == {lowered.number, refunded.number}


def test_coupons_are_found_by_whether_they_can_be_redeemed(desk):
    redeemed(a_coupon("LAST", max_redemptions=1), subscribed(acme(), a_plan()))
    a_coupon("OPEN")
    archive_coupon(a_coupon("OLD"), now=NOON)
    a_coupon("LATE", now=LONG_AGO, redeem_by=LONG_AGO + dt.timedelta(days=1))
    for state, codes in (
        ("redeemable", {"OPEN"}),
        ("used up", {"LAST"}),
        ("archived", {"OLD"}),
        ("too late", {"LATE"}),
    ):
        assert listed(desk, Coupon, state=state) == codes


def test_transfers_and_accounts_are_found_by_their_kinds_and_balances(desk):
    prepaid(300)
    billed_once(1_000)
    (drawn,) = Transfer.objects.filter(debit__kind="grant")
    assert listed(desk, Transfer, debited="grant") == {drawn.key}
    assert listed(desk, Transfer, debited="grant", credited="revenue") == set()
    assert listed(desk, Account, kind="receivable") == listed(desk, Account, balance="debit", kind="receivable")
    assert str(Account.objects.get(kind="grant")) in listed(desk, Account, balance="even")


def test_every_place_where_things_wait_opens(desk):
    body = read(desk, "/admin/")
    waiting = body[body.index("Where things wait") :]
    urls = [part.split('"')[0].replace("&amp;", "&") for part in waiting.split('href="')[1:]]
    assert len([url for url in urls if "?" in url]) >= 10
    for url in urls:
        assert desk.get(url).status_code == 200, url


def test_a_filter_shown_on_a_list_is_one_that_finds_something(desk):
    """A name that the list does not know would be ignored or send the operator back."""
    present(100)
    for model in (Grant, Invoice, CreditNote, Transfer, Account, Subscription, SubscriptionPhase, Coupon, Redemption):
        listing = desk.get(rows_url(model)).context["cl"]
        for spec in listing.filter_specs:
            for choice in spec.choices(listing):
                assert desk.get(rows_url(model) + choice["query_string"]).status_code == 200, (model, spec.title)
