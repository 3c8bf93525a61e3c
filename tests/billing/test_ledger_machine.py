"""Whatever is posted, well or badly, by our code or in raw SQL: the ledger balances, or the database refuses."""

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from api.ids import uuid7
from billing.ledger import PLAIN_KINDS, Overdrawn, Side, book, reverse, transfer
from billing.models import Account, AccountKind, Invoice, InvoiceKind, Transfer
from plans.models import Customer
from tests.billing.purse import prepaid, present
from tests.cast import NOON, acme, bolt

pytestmark = pytest.mark.django_db

NAMES = ("total", "tax", "credit")
MOVED = (
    "UPDATE billing_account SET debits = debits - 1 WHERE debits > 0",
    "UPDATE billing_account SET credits = credits - 1 WHERE credits > 0",
    "UPDATE billing_transfer SET amount = amount + 1",
    "DELETE FROM billing_transfer",
)
POST = """
INSERT INTO billing_transfer (id, key, debit_id, credit_id, amount, invoice_id, posted_at)
VALUES (%(id)s, %(key)s, %(debit)s, %(credit)s, %(amount)s, %(invoice)s, %(at)s)
"""
sides = st.sampled_from([*PLAIN_KINDS, "paid grant", "promotional grant"])
amounts = st.integers(1, 500)


class LedgerMachine(RuleBasedStateMachine):
    """Acme's and Bolt's accounts in two currencies, some grants, and an invoice of Acme's to post for."""

    posted_for = Bundle("posted_for")

    @initialize()
    def begin(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.grants = {
            who.key: {"paid grant": prepaid(1_000, who), "promotional grant": present(1_000, who)}
            for who in (acme(), bolt())
        }
        for customer in (acme(), bolt()):
            for currency in ("USD", "EUR"):
                self.moved(customer, currency, AccountKind.RECEIVABLE, AccountKind.REVENUE, 1)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def moved(self, customer: Customer, currency: str, debit: Side, credit: Side, amount: int) -> bool:
        try:
            with transaction.atomic():
                return transfer(
                    key=f"test:{uuid.uuid4()}",
                    customer=customer,
                    currency=currency,
                    debit=debit,
                    credit=credit,
                    amount=amount,
                    invoice=None,
                    at=NOON,
                )
        except Overdrawn:
            return False

    def side(self, customer: Customer, name: str) -> Side:
        return self.grants[customer.key][name] if name.endswith("grant") else AccountKind(name)

    # Through the front door

    @rule(debit=sides, credit=sides, amount=amounts, is_acme=st.booleans())
    def post(self, debit: str, credit: str, amount: int, is_acme: bool) -> None:
        assume(debit != credit)
        customer = acme() if is_acme else bolt()
        before = self.balances()
        done = self.moved(customer, "USD", self.side(customer, debit), self.side(customer, credit), amount)
        assert (before == self.balances()) is not done

    @rule(debit=st.sampled_from(PLAIN_KINDS), credit=st.sampled_from(PLAIN_KINDS), amount=amounts)
    def post_in_another_currency(self, debit: AccountKind, credit: AccountKind, amount: int) -> None:
        assume(debit != credit)
        self.moved(acme(), "EUR", debit, credit, amount)

    @rule(plain=st.sampled_from(PLAIN_KINDS), grant=st.sampled_from(["paid grant", "promotional grant"]))
    def a_grant_of_somebody_else_or_in_another_currency_is_refused(self, plain: AccountKind, grant: str) -> None:
        for customer, currency in ((acme(), "EUR"), (bolt(), "USD")):
            with pytest.raises(DatabaseError, match="one customer and in one currency"), transaction.atomic():
                self.moved(customer, currency, self.grants["acme"][grant], plain, 1)

    @rule(target=posted_for, postings=st.lists(st.tuples(sides, sides, amounts), max_size=3))
    def post_for_an_invoice(self, postings: list[tuple[str, str, int]]) -> dict[str, Any]:
        invoice = an_invoice()
        before = self.balances()
        for name, (debit, credit, amount) in zip(NAMES, postings, strict=False):
            if debit != credit:
                self.booked(invoice, name, debit, credit, amount)
        for name, grant in self.grants["acme"].items():
            if self.balances()[grant.account.pk] < -10:
                self.booked(invoice, f"grant:{grant.pk}", name, "receivable", 10)
        return {"invoice": invoice, "before": before}

    def booked(self, invoice: Invoice, name: str, debit: str, credit: str, amount: int) -> None:
        try:
            with transaction.atomic():
                sides = {"debit": self.side(acme(), debit), "credit": self.side(acme(), credit)}
                book(invoice, name, **sides, amount=amount, at=NOON)
        except Overdrawn:
            pass

    @rule(posted=consumes(posted_for))
    def a_reversal_mirrors_all_postings_of_an_invoice(self, posted: dict[str, Any]) -> None:
        invoice = posted["invoice"]
        originals = {(t.debit_id, t.credit_id, t.amount) for t in invoice.transfers.all()}
        try:
            with transaction.atomic():
                reverse(invoice, [*NAMES, "grant:"], suffix="void", at=NOON)
                reverse(invoice, [*NAMES, "grant:"], suffix="void", at=NOON)
        except Overdrawn:
            return  # what it brought has been spent meanwhile
        mirrors = invoice.transfers.filter(key__endswith=":void")
        assert {(t.credit_id, t.debit_id, t.amount) for t in mirrors} == originals
        net = net_of(invoice.transfers.all())
        assert set(net.values()) <= {0}

    # In raw SQL

    @rule(amount=st.integers(-5, 0))
    def nothing_or_less_is_refused(self, amount: int) -> None:
        self.refused("transfer_moves_something", amount=amount)

    @rule()
    def one_side_alone_is_refused(self) -> None:
        self.refused("not-null|null value", debit=None)
        self.refused("not-null|null value", credit=None)

    @rule(kind=st.sampled_from(PLAIN_KINDS))
    def an_account_against_itself_is_refused(self, kind: AccountKind) -> None:
        account = plain(acme(), "USD", kind)
        self.refused("transfer_has_two_sides", debit=account, credit=account)

    @rule(kind=st.sampled_from(PLAIN_KINDS), amount=amounts)
    def other_customers_and_currencies_are_refused(self, kind: AccountKind, amount: int) -> None:
        of_bolt = self.grants["bolt"]["paid grant"].account.pk
        for other in (plain(bolt(), "USD", kind), plain(acme(), "EUR", kind), of_bolt):
            self.refused("one customer and in one currency", debit=other, amount=amount)
        self.refused("one customer and in one currency", invoice=an_invoice(bolt()).pk)

    @rule(statement=st.sampled_from(MOVED))
    def what_has_moved_stays(self, statement: str) -> None:
        with pytest.raises(DatabaseError, match="append-only|only grows"), transaction.atomic():
            execute(statement, {})

    def refused(self, why: str, **changed: Any) -> None:
        good = {
            "id": uuid7(),
            "key": f"raw:{uuid.uuid4()}",
            "debit": plain(acme(), "USD", AccountKind.CASH),
            "credit": plain(acme(), "USD", AccountKind.REVENUE),
            "amount": 1,
            "invoice": None,
            "at": NOON,
        }
        with pytest.raises(DatabaseError, match=why), transaction.atomic():
            execute(POST, good | changed)

    # What always holds

    def balances(self) -> dict[int, int]:
        return {account.pk: account.debits - account.credits for account in Account.objects.all()}

    @invariant()
    def debits_equal_credits_in_every_currency_of_every_customer(self) -> None:
        sums: dict[tuple[Any, str], int] = {}
        for account in Account.objects.all():
            owner = (account.customer_id, account.currency)
            sums[owner] = sums.get(owner, 0) + account.debits - account.credits
        assert set(sums.values()) <= {0}

    @invariant()
    def accounts_are_the_sums_of_their_transfers(self) -> None:
        net = net_of(Transfer.objects.all())
        assert {pk: balance for pk, balance in self.balances().items() if balance} == {
            pk: balance for pk, balance in net.items() if balance
        }

    @invariant()
    def nobody_is_overdrawn(self) -> None:
        for account in Account.objects.filter(kind__in=["credit", "grant"]):
            assert account.credits >= account.debits
        for account in Account.objects.filter(kind="receivable"):
            assert account.debits >= account.credits


def net_of(transfers: Any) -> dict[int, int]:
    """Debits less credits by account."""
    net: dict[int, int] = {}
    for entry in transfers:
        net[entry.debit_id] = net.get(entry.debit_id, 0) + entry.amount
        net[entry.credit_id] = net.get(entry.credit_id, 0) - entry.amount
    return net


def plain(customer: Customer, currency: str, kind: AccountKind) -> int:
    return Account.objects.get(customer=customer, currency=currency, kind=kind, grant=None).pk


def an_invoice(customer: Customer | None = None) -> Invoice:
    """A row to post for."""
    times = dict.fromkeys(("period_start", "period_end", "counted_at", "created_at"), NOON)
    return Invoice.objects.create(customer=customer or acme(), kind=InvoiceKind.ONE_OFF, currency="USD", **times)


def execute(sql: str, params: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def test_no_posting_unbalances_the_ledger_and_the_database_refuses_what_would(db: None) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(max_examples=12, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )
