"""Money moves once, between two accounts of one customer, and never out of thin air."""

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger import PLAIN_KINDS, Overdrawn, Side, TransferDiffers, credit_balance, receivable, reverse, transfer
from billing.models import Account, AccountKind, Transfer
from plans.models import Customer
from tests.billing.books import balance
from tests.billing.purse import billed_once, left, prepaid, present
from tests.cast import NOON, acme, cleo

pytestmark = pytest.mark.django_db

RECEIVABLE, REVENUE, CREDIT, CASH = (
    AccountKind.RECEIVABLE,
    AccountKind.REVENUE,
    AccountKind.CREDIT,
    AccountKind.CASH,
)


def moved(
    key: str,
    debit: Side,
    credit: Side,
    amount: int,
    customer: Customer | None = None,
    currency: str = "USD",
) -> bool:
    return transfer(
        key=key,
        customer=customer or acme(),
        currency=currency,
        debit=debit,
        credit=credit,
        amount=amount,
        invoice=None,
        at=NOON,
    )


def test_a_transfer_moves_its_amount_from_the_credited_to_the_debited_account() -> None:
    assert moved("sale", RECEIVABLE, REVENUE, 4900)
    assert (balance(acme(), "receivable"), balance(acme(), "revenue")) == (4900, -4900)
    assert receivable(acme(), "USD") == 4900


def test_the_same_key_moves_money_once() -> None:
    assert [moved("sale", RECEIVABLE, REVENUE, 4900) for _ in range(3)] == [True, False, False]
    assert receivable(acme(), "USD") == 4900
    assert Transfer.objects.count() == 1


@pytest.mark.parametrize(
    ("debit", "credit", "amount", "currency"),
    [(RECEIVABLE, REVENUE, 1, "USD"), (CASH, RECEIVABLE, 4900, "USD"), (RECEIVABLE, REVENUE, 4900, "EUR")],
)
def test_a_key_cannot_be_used_again_for_something_else(
    debit: AccountKind, credit: AccountKind, amount: int, currency: str
) -> None:
    moved("sale", RECEIVABLE, REVENUE, 4900)
    with pytest.raises(TransferDiffers):
        moved("sale", debit, credit, amount, currency=currency)
    with pytest.raises(TransferDiffers):
        moved("sale", RECEIVABLE, REVENUE, 4900, customer=cleo())
    assert receivable(acme(), "USD") == 4900


def test_more_credit_than_there_is_cannot_be_spent() -> None:
    moved("refund", REVENUE, CREDIT, 500)
    moved("sale", RECEIVABLE, REVENUE, 4900)
    with pytest.raises(Overdrawn):
        moved("spend", CREDIT, RECEIVABLE, 501)
    assert credit_balance(acme(), "USD") == 500
    assert moved("spend", CREDIT, RECEIVABLE, 500)
    assert (credit_balance(acme(), "USD"), receivable(acme(), "USD")) == (0, 4400)


def test_more_than_is_owed_cannot_be_paid() -> None:
    moved("sale", RECEIVABLE, REVENUE, 4900)
    with pytest.raises(Overdrawn):
        moved("payment", CASH, RECEIVABLE, 4901)
    assert not Transfer.objects.filter(key="payment").exists()
    assert receivable(acme(), "USD") == 4900


def test_credit_in_one_currency_pays_nothing_in_another() -> None:
    moved("refund", REVENUE, CREDIT, 500, currency="EUR")
    moved("sale", RECEIVABLE, REVENUE, 500)
    with pytest.raises(Overdrawn):
        moved("spend", CREDIT, RECEIVABLE, 500)
    assert (credit_balance(acme(), "EUR"), credit_balance(acme(), "USD")) == (500, 0)


def test_the_credit_of_one_customer_pays_nothing_for_another() -> None:
    moved("refund", REVENUE, CREDIT, 500)
    assert credit_balance(cleo(), "USD") == 0


@pytest.mark.parametrize("amount", [0, -1])
def test_a_transfer_of_nothing_or_less_is_refused_by_the_database(amount: int) -> None:
    with pytest.raises(IntegrityError, match="transfer_moves_something"), transaction.atomic():
        moved("nothing", RECEIVABLE, REVENUE, amount)


def test_a_transfer_from_an_account_to_itself_is_refused_by_the_database() -> None:
    with pytest.raises(IntegrityError, match="transfer_has_two_sides"), transaction.atomic():
        moved("round", CREDIT, CREDIT, 1)


# Grants


def test_a_grant_has_an_account_of_its_own_and_gives_no_more_than_it_holds() -> None:
    grant, other = prepaid(500), prepaid(300)
    moved("sale", RECEIVABLE, REVENUE, 4900)
    with pytest.raises(Overdrawn):
        moved("draw", grant, RECEIVABLE, 501)
    assert moved("draw", grant, RECEIVABLE, 500)
    assert (left(grant), left(other), receivable(acme(), "USD")) == (0, 300, 4400)


def test_the_draws_of_all_grants_are_mirrored_once_and_their_mirrors_are_not() -> None:
    grants = [prepaid(500), present(300)]
    invoice = billed_once(700)
    assert [left(grant) for grant in grants] == [100, 0]
    for _ in range(2):
        reverse(invoice, ["total", "grant:"], suffix="void", at=NOON)
    assert [left(grant) for grant in grants] == [500, 300]
    assert invoice.transfers.filter(key__endswith=":void").count() == 3


def test_a_name_without_a_colon_stands_for_itself_alone() -> None:
    grant = prepaid(500)
    invoice = billed_once(400)
    reverse(invoice, ["grant", "gran", "total:"], suffix="void", at=NOON)
    assert left(grant) == 100


kinds = st.sampled_from(PLAIN_KINDS)
moves = st.tuples(st.integers(0, 5), st.sampled_from(("USD", "EUR")), kinds, kinds, st.integers(-2, 40), st.booleans())


@given(attempts=st.lists(moves, max_size=15))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_tried_debits_equal_credits_and_nobody_is_overdrawn(
    db: None, attempts: list[tuple[int, str, AccountKind, AccountKind, int, bool]]
) -> None:
    with transaction.atomic():
        for key, currency, debit, credit, amount, is_acme in attempts:
            try:
                with transaction.atomic():
                    moved(f"t{key}", debit, credit, amount, acme() if is_acme else cleo(), currency)
            except (Overdrawn, TransferDiffers, IntegrityError):
                pass
            _assert_balanced()
        transaction.set_rollback(True)


def _assert_balanced() -> None:
    accounts = list(Account.objects.all())
    for currency in ("USD", "EUR"):
        mine = [account for account in accounts if account.currency == currency]
        assert sum(account.debits for account in mine) == sum(account.credits for account in mine)
    total = sum(Transfer.objects.values_list("amount", flat=True))
    assert sum(account.debits for account in accounts) == total
    assert all(a.credits >= a.debits for a in accounts if a.kind == CREDIT)
    assert all(a.debits >= a.credits for a in accounts if a.kind == RECEIVABLE)
