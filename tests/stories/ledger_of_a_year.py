"""How is a customer's year told? What happened, and the invoices that follow, written out by hand as tables.

A table has a heading for each invoice and under it, two spaces or more before each amount, its lines and its sums:

    invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
      Growth, base fee 01 Feb 2027 to 28 Feb 2027                    49.00
      14 simple conversations: 10 included, 4 x 1.00 = 4.00 USD       4.00
      total                                                          53.00
      due                                                            53.00

Lines that begin with # are the arithmetic on paper. A sum that is nothing is left out, but for the total and what is
due. Times are those of the customer's clock, and dates on invoices are days of its calendar, the last one included.
"""

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from billing import wallets
from billing.billing import bill
from billing.books import INVARIANTS, check
from billing.changing import make_change
from billing.expiring import expire_grants
from billing.models import Collection, Invoice
from billing.topping_up import top_up_due
from metering.ingest import ingest
from metering.reports import EventIn, Report, UsageIn, read_report
from plans import changing
from plans.calendar import time_zone
from plans.models import Customer, Plan, Subscription
from plans.money import format_amount
from plans.periods import LAST_INSTANT
from plans.subscribing import subscribe
from tests.billing.books import TOKENS, all_billed, balance
from tests.billing.purse import pay
from tests.cast import NOON

IDLE = dt.timedelta(hours=24)
"""A conversation settles so long after its last call."""

WITHOUT_STRIPE = {"collection_is_not_stuck", "commit_survives_a_power_cut"}
"""Not about a story: that Stripe is asked, whom none has, and what the test database is set to."""
BOOKS = {invariant.name for invariant in INVARIANTS} - WITHOUT_STRIPE

Row = tuple[str, str]
"""A line or a sum, and its amount; a heading has none."""


def simple_at(base_fee: str, included: int, unit: str, **more: Any) -> dict[str, Any]:
    """Terms of a plan: so many simple conversations are included, a further one costs `unit`; a standard one 2.00."""
    simple = {"included": included, "price": {"model": "flat", "unit": unit}}
    rates = {"simple": simple, "standard": "2.00", "complex": "3.00", "enterprise": "4.00"}
    return {"base_fee": base_fee, "rates": rates} | more


class Year:
    """A year of one customer. Bills are made before each change of the agreement, and when time is said to pass."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.subscription: Subscription | None = None
        self.told: set[Any] = set()
        self.reported = 0
        self.sum = Decimal(0)

    # What happens

    def begins(self, plan: Plan, at: str, *, anchor: str | None = None) -> Subscription:
        """The customer subscribes; its periods hang on another instant, where given."""
        starts_at = self.instant(at)
        anchor_at = None if anchor is None else self.instant(anchor)
        self.subscription = subscribe(
            self.customer, plan, version=None, starts_at=starts_at, anchor_at=anchor_at, now=NOON
        )
        return self.subscription

    def uses(self, count: int, tier: str = "simple", *, settled: str, outcome: str | None = None) -> None:
        """So many conversations of one call each have settled by then, and are reported while that instant passes."""
        self.hears_late(count, tier, settled=settled, heard=settled, outcome=outcome)

    def hears_late(self, count: int, tier: str = "simple", *, settled: str, heard: str, **fields: Any) -> None:
        """Likewise, but reported later."""
        called, now = self.instant(settled) - IDLE, self.instant(heard)
        verdicts = ingest([self._call(tier, called, now, **fields) for _ in range(count)], now=now)
        assert [verdict.status for verdict in verdicts] == ["accepted"] * count

    def moves(self, plan: Plan, at: str, *, when: Any = None) -> None:
        """To another plan, or to the newest version of its own."""
        self._changes(changing.change_plan, at, version=plan.versions.latest("version"), when=when)

    def pauses(self, at: str) -> None:
        self._changes(changing.pause, at)

    def resumes(self, at: str) -> None:
        self._changes(changing.resume, at)

    def cancels(self, at: str, *, when: str) -> None:
        self._changes(changing.cancel, at, when=when)

    def comes_to(self, at: str) -> None:
        """Time passes: the sweeps run, in the order in which production runs them."""
        now = self.instant(at)
        assert not bill(as_of=now, now=now).failed
        expire_grants(as_of=now, now=now)
        top_up_due(as_of=now, now=now)

    def pays(self, number: str, at: str) -> None:
        """The customer has paid an invoice, and Stripe has told us."""
        invoice = Invoice.objects.get(number=number)
        pay(invoice, now=self.instant(at))
        Collection.objects.filter(invoice=invoice).update(state=Collection.State.DONE, stripe_status="paid")

    # What the invoices say

    def says(self, table: str, *, at: str | None = None) -> None:
        """The invoices since the last table, by `at` where given, are those of this one, line by line."""
        if at is not None:
            self.comes_to(at)
        expected = list(_rows(table))
        fresh = Invoice.objects.filter(customer=self.customer).exclude(pk__in=self.told).order_by("number", "id")
        invoices = list(fresh)
        assert [row for invoice in invoices for row in self._printed(invoice)] == expected
        self.told |= {invoice.pk for invoice in invoices}
        self.sum += sum(Decimal(amount) for text, amount in expected if text == "total")

    def voided(self, total: str) -> None:
        """An invoice of this total stands no more."""
        self.sum -= Decimal(total)

    def holds(self, usable: str, *, at: str) -> None:
        """What the wallet can pay then."""
        assert self._money(wallets.balance(self.customer, at=self.instant(at)).usable) == usable

    def ends(self, at: str, *, total: str, credit: str | None = None) -> None:
        """The tables add up to `total`, so do the books, which are in order; what we owe then is `credit`."""
        self.says("", at=at)
        assert self.sum == Decimal(total)
        assert self._money(all_billed(self.customer)) == total
        assert self._money(-balance(self.customer, "credit")) == (credit or self._money(0))
        violations = check(self.instant(at), only=BOOKS)
        assert {found.invariant.name: found.rows for found in violations} == {}

    # How

    def instant(self, at: str) -> dt.datetime:
        """ "2027-01-31 23:59:59" on the customer's clock; an offset may follow, where the clock is not clear."""
        said = dt.datetime.fromisoformat(at)
        return (said if said.tzinfo else said.replace(tzinfo=time_zone(self.customer.timezone))).astimezone(dt.UTC)

    def _changes(self, change: Any, at: str, **said: Any) -> None:
        assert self.subscription is not None
        now = self.instant(at)
        make_change(
            self.subscription.pk,
            lambda pk: change(pk, now=now, **said),
            now=now,
            preview=False,
            show=lambda subscription, invoices: None,
        )

    def _call(self, tier: str, called: dt.datetime, now: dt.datetime, **fields: Any) -> Report:
        self.reported += 1
        name = f"{self.customer.key}-{self.reported}"
        sent = EventIn(
            **{"provider": "nobody", "model": "unpriced-1"} | fields,
            id=name,
            customer=self.customer.key,
            conversation=name,
            occurred_at=called,
            usage=UsageIn(TOKENS[tier] - 100, 100),
        )
        return read_report(0, sent, now=now, backfill=True)

    def _printed(self, invoice: Invoice) -> Iterator[Row]:
        number = int((invoice.number or "0").rpartition("-")[2])
        yield f"invoice {number}, {invoice.kind}, {self._days(invoice)}", ""
        for line in invoice.lines.all():
            yield line.description, self._money(line.amount)
        if invoice.tax_name:
            contained = "contained " if invoice.tax_inclusive else ""
            yield "subtotal", self._money(invoice.subtotal)
            percent = (invoice.tax_percent or Decimal(0)).normalize()
            yield f"{contained}{invoice.tax_name} {percent:f} %", self._money(invoice.tax or 0)
        yield "total", self._money(invoice.total)
        if invoice.prepaid_applied:
            yield "from prepaid credit", self._money(invoice.prepaid_applied)
        if invoice.credit_applied:
            yield "from credit", self._money(invoice.credit_applied)
        yield "due", self._money(invoice.amount_due)

    def _days(self, invoice: Invoice) -> str:
        zone = time_zone(self.customer.timezone)
        first, last = invoice.period_start.astimezone(zone), (invoice.period_end - LAST_INSTANT).astimezone(zone)
        return f"{first:%d %b %Y}" + (f" to {last:%d %b %Y}" if last > first else "")

    def _money(self, minor: int) -> str:
        return format_amount(minor, self.customer.currency)


def _rows(table: str) -> Iterator[Row]:
    for line in map(str.strip, table.splitlines()):
        if line and not line.startswith("#"):
            text, *amount = re.split(r"  +", line)
            yield text, *(amount or [""])  # type: ignore[misc]
