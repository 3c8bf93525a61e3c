"""How credit comes into a wallet, and out of it again unused."""

import datetime as dt
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.granting import GrantNotVoidable, InvalidGrant, void_grant
from billing.models import Grant, GrantKind, Invoice, Transfer
from tests.billing.books import balance
from tests.billing.purse import again, billed_once, bought, left, pay, prepaid, present, state, used, voided
from tests.cast import NOON, acme, bolt

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def test_a_present_is_backed_by_the_promotion_account() -> None:
    grant = present(500)
    assert (left(grant), balance(acme(), "promotion"), balance(acme(), "revenue")) == (500, 500, 0)
    assert not Invoice.objects.exists()


def test_credit_paid_outside_is_backed_by_the_bank() -> None:
    assert (left(prepaid(500)), balance(acme(), "bank"), balance(acme(), "cash")) == (500, 500, 0)


def test_credit_is_sold_with_an_invoice_that_is_final_at_once() -> None:
    grant = bought(2_050)
    invoice = Invoice.objects.get()
    assert (invoice.kind, invoice.status, invoice.amount_due, invoice.number) == (
        "top_up",
        "finalized",
        2_050,
        "INV-000001",
    )
    assert [(line.kind, line.amount, line.description) for line in invoice.lines.all()] == [
        ("one_off", 2_050, "Prepaid credit: Prepaid")
    ]
    assert (left(grant), balance(acme(), "receivable"), balance(acme(), "pending")) == (0, 2_050, -2_050)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("/amount", {"amount": 0}),
    ("/amount", {"amount": -1}),
    ("/amount", {"amount": 10**12 + 1}),
    ("/priority", {"priority": 101}),
    ("/priority", {"priority": -1}),
    ("/expires_at", {"expires_at": NOON}),
    ("/expires_at", {"expires_at": NOON + DAY, "effective_at": NOON + DAY}),
    ("/expires_at", {"expires_at": NOON - DAY, "effective_at": NOON - 2 * DAY}),
    ("/paid", {"paid": None}),
    ("/paid", {"kind": GrantKind.PROMOTIONAL}),
]


@pytest.mark.parametrize(("pointer", "fields"), REFUSED)
def test_credit_that_makes_no_sense_is_refused(pointer: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidGrant) as refusal:
        prepaid(**{"amount": 100} | fields)
    assert [found for found, _ in refusal.value.errors] == [pointer]
    assert not Grant.objects.exists()


def test_credit_that_could_not_be_paid_is_refused() -> None:
    with pytest.raises(InvalidGrant, match="too fine"):
        prepaid(150, bolt(currency="ISK"))


# Voiding


@pytest.mark.parametrize(("give", "goes_to"), [(present, "promotion"), (prepaid, "bank")])
def test_what_is_left_of_a_void_grant_goes_back_where_it_came_from(give: Any, goes_to: str) -> None:
    grant = give(500)
    billed_once(200)
    void_grant(grant, now=NOON + DAY)
    assert (left(grant), used(grant), state(grant)) == (0, 200, "void")
    assert balance(acme(), goes_to) == (0 if goes_to == "promotion" else 200)
    assert billed_once(100, now=NOON + DAY).amount_due == 100


def test_what_is_left_of_a_void_top_up_is_owed_to_the_customer() -> None:
    grant = bought(500)
    pay(grant.invoice)
    billed_once(200)
    void_grant(grant, now=NOON)
    assert (left(grant), balance(acme(), "credit")) == (0, -300)
    assert billed_once(100).credit_applied == 100


def test_a_grant_is_voided_once() -> None:
    grant = present(500)
    void_grant(grant, now=NOON)
    with pytest.raises(GrantNotVoidable, match="void already"):
        void_grant(grant, now=NOON + DAY)
    assert again(grant).voided_at == NOON


def test_a_grant_that_is_not_paid_yet_is_voided_with_its_invoice() -> None:
    grant = bought(500)
    with pytest.raises(GrantNotVoidable, match="void its invoice INV-000001"):
        void_grant(grant, now=NOON)
    voided(Invoice.objects.get())
    assert state(grant) == "void"


def test_a_grant_of_which_everything_is_used_can_be_voided_and_moves_nothing() -> None:
    grant = present(500)
    billed_once(500)
    before = Transfer.objects.count()
    void_grant(grant, now=NOON)
    assert (Transfer.objects.count(), used(grant)) == (before, 500)


# What the database promises


CHANGED = ["amount = 1", "expires_at = NULL", "customer_id = gen_random_uuid()", "kind = 'paid'", "priority = 0"]


@pytest.mark.parametrize("change", CHANGED)
def test_what_was_promised_never_changes(change: str) -> None:
    present(500, expires_at=NOON + DAY)
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE billing_grant SET {change}")


def test_no_grant_can_be_overdrawn_even_with_raw_sql() -> None:
    present(500)
    with (
        pytest.raises(DatabaseError, match="account_credit_never_overdrawn"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE billing_account SET debits = debits + 501 WHERE kind = 'grant'")
