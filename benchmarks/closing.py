"""How long does the end of a month take? Conversations settled and invoices made, by what the commands call."""

import datetime as dt
import time
from typing import NamedTuple

from benchmarks.customers import create_conversations, create_customers

CONVERSATIONS = 1_000_000
MANY, FEW = 10_000, 20
"""Customers that have them: what a batch touches, and so what it costs, is another thing in either case."""
PROCESSES = 2
"""That make the invoices: as many as the machine has processors, by which the bar is."""
LASTING = dt.timedelta(days=27)
"""The month's conversations begin within so many days, and have ended within it."""


class Closing(NamedTuple):
    """What a month's end took: settling of many or of few customers, whichever is slower, and billing of the many."""

    conversations: int
    settling_s: float
    invoices: int
    billing_s: float


def close_month(*, quick: bool, now: dt.datetime) -> Closing:
    """Settle last month's conversations, and bill them where the customers are many. Django must be set up."""
    from billing.billing import bill

    part = 20 if quick else 1
    month = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=1)).replace(day=1)
    over = month + dt.timedelta(days=32)
    create_customers("many", MANY // part, since=month)
    bill(as_of=month, now=now)  # the first base fee
    settled, many_s = _settle("many", CONVERSATIONS // MANY, month=month, over=over)
    begin = time.monotonic()
    invoices = len(bill(as_of=over, now=over, processes=PROCESSES).invoices)
    billing_s = time.monotonic() - begin
    create_customers("few", FEW, since=month)
    also_settled, few_s = _settle("few", CONVERSATIONS // FEW // part, month=month, over=over)
    print(f"{settled:,} conversations of {MANY // part:,} customers settled in {many_s:.1f} s,", end=" ")
    print(f"{also_settled:,} of {FEW} in {few_s:.1f} s; {invoices:,} invoices in {billing_s:.1f} s.", flush=True)
    return Closing(min(settled, also_settled), max(many_s, few_s), invoices, billing_s)


def _settle(name: str, each: int, *, month: dt.datetime, over: dt.datetime) -> tuple[int, float]:
    """How many were settled, and in how many seconds."""
    from metering.settling import settle

    create_conversations(name, each, since=month, during=LASTING)
    begin = time.monotonic()
    settled = settle(as_of=over, now=over)
    return settled, time.monotonic() - begin
