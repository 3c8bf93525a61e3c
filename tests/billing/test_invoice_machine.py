"""Whatever is done to invoices in whatever order: they add up, nothing final changes, nothing is taken back twice.

One-off invoices with tax: drafted, edited, finalized, paid, voided, issued anew, and corrected by credit notes, while
presents are given. Every step that a rule refuses must leave everything as it was.
"""

import contextlib
import datetime as dt
import os
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from billing.books import check
from billing.books.credit_notes import CREDIT_NOTES
from billing.books.invoices import INVOICES
from billing.books.ledger import LEDGER
from billing.books.postings import POSTINGS
from billing.books.taxes import TAXES
from billing.books.wallets import WALLETS
from billing.credit_notes import InvalidCredit, NotCreditable, credit_note
from billing.creditable import creditable, still_due
from billing.editing import InvoiceNotEditable, LineNotRemovable, add_discount, add_line, remove_line
from billing.finalizing import InvoiceAlreadyFinalized, InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.manual_discounts import NothingToDiscount
from billing.models import CreditNoteLine, Invoice, InvoiceStatus
from billing.one_off import OneOff, draft_one_off
from billing.reissuing import reissue
from tests.billing.books import frozen_rows
from tests.billing.drafts import vat
from tests.billing.purse import pay, present
from tests.cast import NOON, acme

pytestmark = pytest.mark.django_db

MONEY = [one.name for one in (*INVOICES, *LEDGER, *POSTINGS, *TAXES, *CREDIT_NOTES, *WALLETS)]
OF_THE_CLOCK = ("stuck", "parked", "wait", "recorded", "expires_when")
REFUSED = (
    InvoiceAlreadyFinalized,
    InvoiceNotVoidable,
    InvoiceNotEditable,
    LineNotRemovable,
    NothingToDiscount,
    NotCreditable,
    InvalidCredit,
)
prices = st.integers(1, 5_000).map(lambda cents: Decimal(cents) / 100)


MACHINE = settings(
    max_examples=int(os.environ.get("PARLEY_EXAMPLES", "15")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class InvoiceMachine(RuleBasedStateMachine):
    """Acme's one-off invoices under VAT, which is added or contained as the machine begins."""

    invoices = Bundle("invoices")

    @initialize(inclusive=st.booleans())
    def begin(self, inclusive: bool) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = NOON
        self.frozen: set[str] = set()
        vat("19", inclusive=inclusive)

    def teardown(self) -> None:
        try:
            lasting = [name for name in MONEY if not any(word in name for word in OF_THE_CLOCK)]
            assert [(found.invariant.name, found.rows) for found in check(self.now, only=lasting)] == []
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    @contextlib.contextmanager
    def maybe(self):
        """What is refused changes nothing."""
        self.now += dt.timedelta(minutes=1)
        before = frozen_rows()
        with contextlib.suppress(*REFUSED):
            try:
                with transaction.atomic():
                    yield
            except REFUSED:
                assert frozen_rows() == before
                raise

    @rule(target=invoices, amounts=st.lists(prices, min_size=1, max_size=3))
    def draft(self, amounts: list[Decimal]) -> Invoice:
        return draft_one_off(acme(), [OneOff("Work", 1, amount) for amount in amounts], now=self.now)

    @rule(invoice=invoices, quantity=st.integers(1, 3), price=prices)
    def add(self, invoice: Invoice, quantity: int, price: Decimal) -> None:
        with self.maybe():
            add_line(invoice.pk, description="More", quantity=quantity, unit_amount=price, now=self.now)

    @rule(invoice=invoices, percent=st.sampled_from(("10", "33.3333", "100")), on_a_line=st.booleans())
    def discount(self, invoice: Invoice, percent: str, on_a_line: bool) -> None:
        line = invoice.lines.filter(amount__gt=0).first()
        with self.maybe():
            add_discount(
                invoice.pk,
                description="Sorry",
                percent=Decimal(percent),
                line_id=line.pk if line and on_a_line else None,
                now=self.now,
            )

    @rule(invoice=invoices)
    def remove(self, invoice: Invoice) -> None:
        last = invoice.lines.last()
        with self.maybe():
            if last is not None:
                remove_line(invoice.pk, last.pk)

    @rule(amount=st.integers(1, 3_000))
    def give(self, amount: int) -> None:
        present(amount, now=self.now)

    @rule(invoice=invoices)
    def finalize(self, invoice: Invoice) -> None:
        with self.maybe():
            finalize_invoice(invoice.pk, now=self.now)

    @rule(invoice=invoices)
    def paid(self, invoice: Invoice) -> None:
        if Invoice.objects.get(pk=invoice.pk).status == InvoiceStatus.FINALIZED:
            pay(invoice, now=self.now)

    @rule(invoice=invoices)
    def void(self, invoice: Invoice) -> None:
        with self.maybe():
            void_invoice(invoice.pk, reason="wrong", now=self.now)

    @rule(target=invoices, invoice=invoices)
    def issue_anew(self, invoice: Invoice) -> Invoice:
        with self.maybe():
            return reissue(invoice.pk, reason="wrong", now=self.now)
        return invoice

    @rule(invoice=invoices, share=st.sampled_from((Decimal("0.1"), Decimal("0.5"), Decimal(1), Decimal(2))))
    def take_back(self, invoice: Invoice, share: Decimal) -> None:
        with self.maybe():
            credit_note(
                Invoice.objects.get(pk=invoice.pk),
                reason="not delivered",
                amount=max(1, int(invoice.subtotal * share)),
                now=self.now,
            )

    @invariant()
    def nothing_final_changes(self) -> None:
        if hasattr(self, "frozen"):
            rows = frozen_rows()
            assert self.frozen <= rows
            self.frozen = rows

    @invariant()
    def nothing_is_taken_back_twice(self) -> None:
        for invoice in Invoice.objects.exclude(status=InvoiceStatus.DRAFT):
            taken = sum(CreditNoteLine.objects.filter(credit_note__invoice=invoice).values_list("amount", flat=True))
            tax = sum(CreditNoteLine.objects.filter(credit_note__invoice=invoice).values_list("tax", flat=True))
            assert taken <= sum(creditable(invoice).values())
            assert tax <= (invoice.tax or 0)
            assert still_due(invoice) >= 0


def test_no_order_of_editing_paying_voiding_and_crediting_loses_a_cent(db: None, settings: "object") -> None:
    settings.TAX = "fixed"  # type: ignore[attr-defined]
    run_state_machine_as_test(InvoiceMachine, settings=MACHINE)
