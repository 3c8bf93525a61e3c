"""Many at once: whoever spends, gives back, voids or expires at the same time, no cent counts twice."""

import datetime as dt

import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError

from billing import wallets
from billing.books import check
from billing.expiring import expire_grants
from billing.finalizing import finalize_invoice
from billing.granting import GrantNotVoidable, void_grant
from billing.models import Account, Grant, Invoice, Transfer
from billing.topping_up import set_rule, top_up_due
from tests.billing.purse import again, bought, drafted, drawn, left, pay, prepaid, present, used, voided
from tests.billing.test_at_once import together
from tests.cast import NOON, acme, bolt
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked

DAY = dt.timedelta(days=1)
MANY = 12


def assert_books_hold() -> None:
    found = check(NOON + DAY)
    money = [violation for violation in found if not violation.invariant.name.startswith(("commit_", "collection_"))]
    assert [(violation.invariant.name, violation.rows) for violation in money] == []


@pytest.mark.parametrize("give", [prepaid, present])
def test_spenders_that_come_at_once_share_one_grant_without_overdraft(sessions: Sessions, give) -> None:  # type: ignore[no-untyped-def]
    grant = give(1_000)
    drafts = [drafted(150) for _ in range(MANY)]
    invoices = together(sessions, *[lambda pk=draft.pk: finalize_invoice(pk, now=NOON) for draft in drafts])
    drawn_each = sorted(sum(drawn(invoice).values()) for invoice in invoices)
    assert drawn_each == [0] * 5 + [100] + [150] * 6
    assert (left(grant), used(grant)) == (0, 1_000)
    assert sorted(invoice.amount_due for invoice in invoices) == [0] * 6 + [50] + [150] * 5
    assert_books_hold()


def test_a_spender_waits_for_the_one_before_and_sees_what_that_has_left(sessions: Sessions) -> None:
    prepaid(1_000)
    drafts = [drafted(800), drafted(800)]
    with transaction.atomic():
        finalize_invoice(drafts[0].pk, now=NOON)
        other = sessions.start(lambda: finalize_invoice(drafts[1].pk, now=NOON))
        wait_until_blocked()
    assert other.result(30).prepaid_applied == 200


def test_a_storm_of_spending_giving_back_voiding_and_expiring_loses_no_cent(sessions: Sessions) -> None:
    grants = [
        give(300 + n, expires_at=NOON + n * DAY / 2, priority=n) for n, give in enumerate([prepaid, present] * 3, 1)
    ]
    open_bills = [finalize_invoice(drafted(900).pk, now=NOON) for _ in range(3)]
    drafts = [drafted(400) for _ in range(6)]
    top_up = bought(700)
    calls = [
        *[lambda pk=draft.pk: finalize_invoice(pk, now=NOON) for draft in drafts],
        *[lambda bill=bill: voided(bill) for bill in open_bills if bill.status == "finalized"],
        *[lambda: expire_grants(as_of=NOON + DAY, now=NOON + DAY)] * 3,
        *[lambda grant=grants[n]: void_grant(grant, now=NOON) for n in (4, 4, 5)],
        lambda: pay(top_up.invoice),
    ]
    results = together(sessions, *calls)
    assert {result for result in results if isinstance(result, type)} <= {GrantNotVoidable}
    expire_grants(as_of=NOON + DAY, now=NOON + DAY)
    for grant in [*grants, top_up]:
        assert 0 <= used(grant) <= grant.amount
        assert left(grant) >= 0
    assert_books_hold()


def test_the_payment_of_a_top_up_that_is_heard_of_twice_at_once_comes_once(sessions: Sessions) -> None:
    grant = bought(700)
    pay(grant.invoice)
    invoice = Invoice.objects.get()

    def hear_of_it() -> None:
        with transaction.atomic():
            wallets.invoice_paid(invoice, at=NOON)

    assert together(sessions, *[hear_of_it] * 6) == [None] * 6
    assert left(grant) == 700


def test_a_grant_voided_by_many_at_once_is_taken_back_once(sessions: Sessions) -> None:
    grant = present(700)
    results = together(sessions, *[lambda: void_grant(grant, now=NOON)] * 6)
    assert results.count(GrantNotVoidable) == 5
    assert (left(grant), Transfer.objects.filter(debit__grant=grant).count()) == (0, 1)


def test_sweeps_at_once_expire_a_grant_once(sessions: Sessions) -> None:
    grant = prepaid(700, expires_at=NOON + DAY)
    results = together(sessions, *[lambda: expire_grants(as_of=NOON + DAY, now=NOON + DAY)] * 6)
    assert sorted(results) == [0, 0, 0, 0, 0, 1]
    assert (left(grant), again(grant).expired_at) == (0, NOON + DAY)


def test_a_sweep_does_not_expire_what_a_spender_is_just_taking(sessions: Sessions) -> None:
    draft = drafted(700)
    grant = prepaid(700, expires_at=NOON + DAY)
    with transaction.atomic():
        finalize_invoice(draft.pk, now=NOON + DAY)
        sweep = sessions.start(lambda: expire_grants(as_of=NOON + DAY, now=NOON + DAY))
    assert sweep.result(30) == 0
    assert (left(grant), used(grant)) == (0, 700)


# Top-ups


def test_sweeps_at_once_buy_once(sessions: Sessions) -> None:
    for customer in (acme(), bolt()):
        set_rule(customer, below=100, up_to=1_000, cool_off=DAY, now=NOON)
    results = together(sessions, *[lambda: top_up_due(as_of=NOON, now=NOON)] * 8)
    assert sorted(invoice.customer.key for result in results for invoice in result) == ["acme", "bolt"]
    assert Grant.objects.count() == 2


def test_a_rule_that_somebody_is_at_is_left_to_them(sessions: Sessions) -> None:
    set_rule(acme(), below=100, up_to=1_000, cool_off=DAY, now=NOON)
    with transaction.atomic():
        assert len(top_up_due(as_of=NOON, now=NOON)) == 1
        assert sessions.start(lambda: top_up_due(as_of=NOON, now=NOON)).result(10) == []


# What the database refuses, to two sessions as to one

DRAW = "UPDATE billing_account SET debits = debits + 600 WHERE kind = 'grant'"


def test_raw_sql_of_two_sessions_cannot_overdraw_a_grant_either(sessions: Sessions) -> None:
    prepaid(1_000)

    def draw() -> None:
        with connection.cursor() as cursor:
            cursor.execute(DRAW)

    results = together(sessions, draw, draw)
    assert sorted(map(str, results)) == sorted(map(str, [None, IntegrityError]))
    assert [account.debits for account in Account.objects.filter(kind="grant")] == [600]
