"""What the billing tests say about bills: how to get one, what stands on it, and whether the books balance.

Acme's subscription begins at NOON (2 November 2026, 12:00 UTC), so that its periods do not begin at midnight.
"""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Iterable

from django.db import connection
from django.db.models import F, Sum

from billing.billing import BillRun, bill
from billing.ledger import receivable
from billing.models import Account, Invoice, InvoiceLine, InvoiceSequence, InvoiceStatus, LineKind, Transfer
from metering.reports import Report
from plans.models import Customer
from tests.cast import NOON, report, send

TOKENS = {"simple": 1_000, "standard": 5_000, "complex": 20_000, "enterprise": 80_000}
"""The size of a conversation of one call that is just in the tier (simple: well within)."""

DEC_2, JAN_2, FEB_2, MAR_2 = (dt.datetime(2026 + n // 12, n % 12 + 1, 2, 12, tzinfo=dt.UTC) for n in (11, 12, 13, 14))
"""When the periods of a subscription since NOON end."""
GRACE = dt.timedelta(hours=1)


def conversation(
    name: str, hours: float | dt.datetime = 1, *, tier: str = "simple", customer: str = "acme", **fields: object
) -> Report:
    """A conversation of one call, which settles 24 hours later."""
    tokens = (TOKENS[tier] - 100, 0, 0, 100, 0)
    return report(f"{name}-1", hours, conversation=name, tokens=tokens, customer=customer, **fields)


def conversations(count: int, hours: float | dt.datetime = 1, *, tier: str = "simple", name: str = "c") -> list[Report]:
    return [conversation(f"{name}-{tier}-{index}", hours, tier=tier) for index in range(count)]


def happened(*reports: Report, now: dt.datetime) -> None:
    """These calls are reported now."""
    assert set(send(reports, now=now)) <= {"accepted", "updated", "duplicate"}


def billed(as_of: dt.datetime) -> list[Invoice]:
    """The invoices that a bill run at this instant makes, oldest first."""
    run = bill_run(as_of)
    assert not run.failed
    return list(Invoice.objects.filter(pk__in=run.invoices).order_by("number", "id"))


def bill_run(as_of: dt.datetime) -> BillRun:
    return bill(as_of=as_of, now=as_of)


def lines_of(invoice: Invoice) -> list[tuple[str, str, int]]:
    """Kind, tier and amount of each line."""
    return [(line.kind, line.tier, line.amount) for line in invoice.lines.all()]


def adjustments_of(customer: Customer) -> list[InvoiceLine]:
    lines = InvoiceLine.objects.filter(invoice__customer=customer, kind=LineKind.ADJUSTMENT)
    return list(lines.order_by("invoice__number", "position"))


def all_billed(customer: Customer) -> int:
    """What all invoices that are not void come to, in minor units."""
    invoices = Invoice.objects.filter(customer=customer).exclude(status=InvoiceStatus.VOID)
    return invoices.aggregate(sum=Sum("total"))["sum"] or 0


def usage_billed_by_period(customer: Customer) -> dict[tuple[dt.datetime, int], int]:
    """Usage and adjustment lines together, by subscription (its start) and index of the period they are for."""
    sums: Counter[tuple[dt.datetime, int]] = Counter()
    lines = InvoiceLine.objects.filter(invoice__customer=customer, kind__in=[LineKind.USAGE, LineKind.ADJUSTMENT])
    for line in lines.select_related("subscription"):
        sums[line.subscription.starts_at, line.period_index] += line.amount
    return {period: amount for period, amount in sums.items() if amount}


def balance(customer: Customer, kind: str) -> int:
    """Debits minus credits."""
    account = Account.objects.filter(customer=customer, kind=kind).first()
    return account.debits - account.credits if account else 0


FROZEN = """
SELECT id::text, (to_jsonb(i) - '{status,paid_at,voided_at,void_reason}'::text[])::text FROM billing_invoice i
  WHERE status <> 'draft'
UNION ALL
SELECT l.id::text, to_jsonb(l)::text FROM billing_invoiceline l JOIN billing_invoice i ON i.id = l.invoice_id
  WHERE i.status <> 'draft'
UNION ALL SELECT id::text, to_jsonb(t)::text FROM billing_transfer t
"""


def frozen_rows() -> set[str]:
    """A hash of everything that must never change again: it may only grow."""
    with connection.cursor() as cursor:
        cursor.execute(FROZEN)
        return {hashlib.sha256(json.dumps(row).encode()).hexdigest() for row in cursor.fetchall()}


def assert_books_balance(customers: Iterable[Customer] | None = None) -> None:
    """No gaps in numbers; lines make up totals, transfers make up accounts, and accounts agree with invoices."""
    numbers = Invoice.objects.exclude(number=None).order_by("number").values_list("number", flat=True)
    assert list(numbers) == [f"INV-{number:06d}" for number in range(1, len(numbers) + 1)]
    assert sum(InvoiceSequence.objects.values_list("last", flat=True)) == len(numbers)
    for invoice in Invoice.objects.annotate(of_lines=Sum("lines__amount")):
        assert invoice.total == (invoice.of_lines or 0)
    for account in Account.objects.all():
        assert account.debits == _sum(Transfer.objects.filter(debit=account))
        assert account.credits == _sum(Transfer.objects.filter(credit=account))
    assert not Transfer.objects.exclude(debit__customer=F("credit__customer")).exists()
    assert not Transfer.objects.exclude(debit__currency=F("credit__currency")).exists()
    for customer in customers or Customer.objects.all():
        _assert_accounts_agree_with_invoices(customer)


def _assert_accounts_agree_with_invoices(customer: Customer) -> None:
    """For customers whose invoices were finalized and voided here; nothing was collected."""
    standing = Invoice.objects.filter(customer=customer).exclude(status__in=[InvoiceStatus.DRAFT, InvoiceStatus.VOID])
    owing = standing.filter(status=InvoiceStatus.FINALIZED)
    assert receivable(customer, customer.currency) == sum(owing.values_list("amount_due", flat=True))
    assert balance(customer, "revenue") == -sum(standing.values_list("total", flat=True))
    granted = -sum(standing.filter(total__lt=0).values_list("total", flat=True))
    assert balance(customer, "credit") == sum(standing.values_list("credit_applied", flat=True)) - granted


def _sum(transfers: "object") -> int:
    return transfers.aggregate(sum=Sum("amount"))["sum"] or 0  # type: ignore[attr-defined]


def since(hours: float) -> dt.datetime:
    return NOON + dt.timedelta(hours=hours)
