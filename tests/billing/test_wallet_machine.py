"""Whatever is done to a wallet in whatever order, no grant gives more than it holds, and every cent is somewhere."""

import contextlib
import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
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

from billing import wallets
from billing.books import check
from billing.books.wallets import WALLETS
from billing.expiring import expire_grants
from billing.finalizing import finalize_invoice
from billing.granting import GrantNotVoidable, void_grant
from billing.models import Grant, GrantKind, Invoice, InvoiceStatus, LineKind
from tests.billing.purse import drafted, pay, prepaid, present, voided
from tests.cast import NOON, bolt

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
amounts = st.integers(1, 400)
hours = st.integers(1, 12)
NAMES = {found.name for found in WALLETS}
WHEN_SWEPT = {"grant_expires_when_it_is_over", "grant_that_is_over_is_empty"}
"""What holds within the hour, once a sweep has come by."""


class CreditMachine(RuleBasedStateMachine):
    """One wallet, time that passes, and bills; Bolt's wallet beside it must never change."""

    grants = Bundle("grants")
    drafts = Bundle("drafts")
    unpaid = Bundle("unpaid")

    @initialize()
    def begin(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = NOON
        prepaid(1_000, bolt())

    def teardown(self) -> None:
        try:
            self.books_hold(NAMES - WHEN_SWEPT)
            assert wallets.balance(bolt(), at=self.now) == wallets.Balance(1_000, 0, 0, 0)
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    # What is done

    @rule(hours=hours)
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(target=grants, amount=amounts, paid=st.booleans(), priority=st.integers(0, 2), lasts=st.none() | hours)
    def give(self, amount: int, paid: bool, priority: int, lasts: int | None) -> Grant:
        expires_at = None if lasts is None else self.now + lasts * HOUR
        give = prepaid if paid else present
        return give(amount, priority=priority, expires_at=expires_at, now=self.now)

    @rule(target=grants, amount=amounts, lasts=st.none() | hours)
    def sell(self, amount: int, lasts: int | None) -> Grant:
        expires_at = None if lasts is None else self.now + lasts * HOUR
        return prepaid(amount, paid="invoice", expires_at=expires_at, now=self.now)

    @rule(grant=grants)
    def pay_for(self, grant: Grant) -> None:
        invoice = grant.invoice and Invoice.objects.get(pk=grant.invoice.pk)
        if invoice and invoice.status == InvoiceStatus.FINALIZED:
            pay(invoice, now=self.now)

    @rule(grant=consumes(grants))
    def void(self, grant: Grant) -> None:
        if grant.invoice and Invoice.objects.get(pk=grant.invoice.pk).status == InvoiceStatus.FINALIZED:
            voided(grant.invoice, now=self.now)
        with contextlib.suppress(GrantNotVoidable):
            void_grant(grant, now=self.now)

    @rule(target=drafts, amount=amounts)
    def draft(self, amount: int) -> Invoice:
        return drafted(amount, now=self.now)

    @rule(target=unpaid, draft=consumes(drafts))
    def finalize(self, draft: Invoice) -> Invoice:
        usable = {grant.pk: grant for grant in wallets.with_use(wallets.usable_for(draft, now=self.now))}
        there = sum(wallets.left(grant) for grant in usable.values())
        invoice = finalize_invoice(draft.pk, now=self.now)
        given = drawn_by_id(invoice)
        presents = sum(amount for pk, amount in given.items() if usable[pk].kind == GrantKind.PROMOTIONAL)
        assert sum(given.values()) == min(there, draft.subtotal)
        assert presents == -sum(invoice.lines.filter(kind=LineKind.CREDIT).values_list("amount", flat=True))
        assert sum(given.values()) - presents == invoice.prepaid_applied
        return invoice

    @rule(invoice=consumes(unpaid))
    def take_bill_back(self, invoice: Invoice) -> None:
        if Invoice.objects.get(pk=invoice.pk).status == InvoiceStatus.FINALIZED:
            voided(invoice, now=self.now)

    @rule()
    def expire(self) -> None:
        expire_grants(as_of=self.now, now=self.now)
        over = Grant.objects.filter(wallets.FILLED, usable_at__isnull=False, expires_at__lte=self.now)
        drafts = Invoice.objects.filter(status=InvoiceStatus.DRAFT).values_list("created_at", flat=True)
        assert all(any(drafted_at < grant.expires_at for drafted_at in drafts) for grant in over)
        assert not Grant.objects.filter(wallets.FILLED, voided_at__isnull=False).exists()
        self.books_hold(NAMES)

    # What always holds

    @invariant()
    def no_grant_gives_more_than_it_holds(self) -> None:
        for grant in wallets.with_use(Grant.objects.all()):
            given = grant.amount if grant.usable_at else 0
            assert 0 <= wallets.used(grant) <= given
            assert 0 <= wallets.left(grant) <= given - wallets.used(grant)

    def books_hold(self, names: set[str]) -> None:
        found = check(self.now, only=names)
        assert [(violation.invariant.name, violation.rows) for violation in found] == []


def drawn_by_id(invoice: Invoice) -> dict[Any, int]:
    draws = invoice.transfers.filter(debit__grant__isnull=False)
    return dict(draws.values_list("debit__grant", "amount"))


def test_no_order_of_giving_billing_expiring_and_taking_back_spends_a_cent_twice(db: None) -> None:
    run_state_machine_as_test(
        CreditMachine,
        settings=settings(max_examples=20, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )
