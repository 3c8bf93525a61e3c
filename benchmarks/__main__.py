"""`make bench`: what one machine can do, as a table of figures and ratios taken in one run.

Exits with 1 if taking events in 1,000 a request is not at least 20 times as fast as the obvious way.
"""

import argparse
import datetime as dt
import os
import sys

import django

from benchmarks.closing import Closing, close_month
from benchmarks.ingesting import FULL, QUICK, WAYS, Rounds, create_cast, ingest_rounds
from benchmarks.machine import machine
from benchmarks.served import WORKERS, temporary_database

LEAST_TIMES_OBVIOUS = 20
PARTS = ("ingest", "settle", "bill")
NAMES = {
    "ours_batch": "Parley, 1,000 events a request",
    "obvious_batch": "DRF + ORM, 1,000 a request",
    "ours_single": "Parley, 1 event a request",
    "obvious_single": "DRF + ORM, 1 event a request",
}
OBVIOUS_OF = {"ours_batch": "obvious_batch", "ours_single": "obvious_single"}


def main() -> int:
    options = arguments()
    with temporary_database() as data_dir:
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        django.setup()
        now = dt.datetime.now(dt.UTC)
        print(machine(), flush=True)
        if options.only == "ingest" or options.only is None:
            effort = QUICK if options.quick else FULL
            rounds = ingest_rounds(data_dir, effort, create_cast(now), say=progress)
            print(ingest_table(rounds), flush=True)
        if options.only != "ingest":
            customers, each = (60, 500) if options.quick else (300, 667)
            closing = close_month(
                customers=customers, conversations_each=each, now=now, with_billing=options.only != "settle"
            )
            print(closing_lines(closing))
    if options.only in (None, "ingest") and times_obvious(rounds, "ours_batch") < LEAST_TIMES_OBVIOUS:
        print(f"Below {LEAST_TIMES_OBVIOUS} times the obvious way.", file=sys.stderr)
        return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round instead of three, under a minute")
    parser.add_argument("--only", choices=PARTS, help="one part (bill settles first)")
    return parser.parse_args()


def progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def times_obvious(rounds: Rounds, way: str) -> float:
    return rounds.best(way).events_a_second / rounds.best(OBVIOUS_OF[way]).events_a_second


def ingest_table(rounds: Rounds) -> str:
    """Best of the rounds; latencies are those of the best round."""
    raw = max(rounds.raw)
    lines = [
        f"{'best of ' + str(len(rounds.raw)) + f', {WORKERS} web workers':<34}{'events/s':>10}{'of raw COPY':>13}"
        f"{'x DRF + ORM':>13}{'p50 ms':>9}{'p99 ms':>9}   connections",
        f"{'raw binary COPY, 1,000 a commit':<34}{raw:>10,.0f}{1:>13.2f}{'':>31}   1",
    ]
    for way, name in NAMES.items():
        best = rounds.best(way)
        times = f"{times_obvious(rounds, way):.1f}" if way in OBVIOUS_OF else ""
        lines.append(
            f"{name:<34}{best.events_a_second:>10,.0f}{best.events_a_second / raw:>13.3f}{times:>13}"
            f"{best.latency_ms(0.5):>9.1f}{best.latency_ms(0.99):>9.1f}   {WAYS[way].connections}"
        )
    if refused := sum(load.counts["refused"] for way in OBVIOUS_OF for load in rounds.loads[way]):
        lines.append(f"Parley refused {refused:,} requests as overloaded (503); they were sent again.")
    stored = sum(load.counts["accepted"] for way in OBVIOUS_OF for load in rounds.loads[way])
    lines.append(f"All {stored:,} events acknowledged by Parley are stored, and counted in exactly one conversation.")
    return "\n".join(lines)


def closing_lines(closing: Closing) -> str:
    settling = closing.conversations / closing.settling_s
    text = f"Settling: {settling:,.0f} conversations/s ({closing.conversations:,} in {closing.settling_s:.1f} s)."
    if closing.invoices:
        billing = closing.invoices / closing.billing_s
        text += f"\nBilling: {billing:,.0f} invoices/s ({closing.invoices:,} in {closing.billing_s:.1f} s)."
    return text


if __name__ == "__main__":
    sys.exit(main())
