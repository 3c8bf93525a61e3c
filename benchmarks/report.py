"""What was asked for, what was seen, and is it enough?"""

from typing import Any, NamedTuple

from benchmarks.growing import Growth
from benchmarks.ingesting import OUR_WAYS, WAYS, Rounds
from benchmarks.served import WORKERS
from benchmarks.soaking import Soak

NAMES = {
    "ours_1000": "Parley, 1,000 events a request",
    "obvious_1000": "DRF + ORM, 1,000 a request",
    "ours_100": "Parley, 100 events a request",
    "ours_1": "Parley, 1 event a request",
    "obvious_1": "DRF + ORM, 1 event a request",
}


class Bar(NamedTuple):
    """A figure and the least (or, with `at_most`, the most) it may be."""

    what: str
    seen: float
    bar: float
    unit: str = ""
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        return self.seen <= self.bar if self.at_most else self.seen >= self.bar

    def __str__(self) -> str:
        verdict = "ok   " if self.is_met else "SHORT"
        wanted = f"{'at most' if self.at_most else 'at least'} {self.bar:,g}{self.unit}"
        return f"{verdict} {self.what:<66} {self.seen:>12,.3g}{self.unit:<4} ({wanted})"


def ingest_table(rounds: Rounds) -> str:
    """Best of the rounds; latencies are those of the best round."""
    lines = [f"{'best of ' + str(len(rounds.loads['ours_1'])) + f', {WORKERS} web workers':<34}{'events/s':>10}"]
    lines[0] += f"{'p50 ms':>10}{'p99 ms':>10}   connections"
    for rows, rates in sorted(rounds.raw.items(), reverse=True):
        lines.append(f"{f'raw binary COPY, {rows:,} a commit':<34}{max(rates):>10,.0f}{'':>20}   1")
    for way, name in NAMES.items():
        best = rounds.best(way)
        lines.append(
            f"{name:<34}{best.events_a_second:>10,.0f}{best.latency_ms(0.5):>10.1f}{best.latency_ms(0.99):>10.1f}"
            f"   {WAYS[way].connections}"
        )
    if refused := sum(load.counts["refused"] for way in OUR_WAYS for load in rounds.loads[way]):
        lines.append(f"Parley refused {refused:,} requests as overloaded (503); they were sent again.")
    stored = sum(load.counts["accepted"] for way in OUR_WAYS for load in rounds.loads[way])
    lines.append(f"All {stored:,} events acknowledged by Parley are stored, and counted in exactly one conversation.")
    lines.append(
        f"The fold was behind by {rounds.watch.lag(0.5):.2f} s (median), {rounds.watch.lag(0.99):.2f} s (p99)."
    )
    return "\n".join(lines)


def ingest_bars(rounds: Rounds) -> list[Bar]:
    single = rounds.best("ours_1")
    obvious = rounds.best("ours_1000").events_a_second / rounds.best("obvious_1000").events_a_second
    return [
        Bar("1,000 a request, of raw COPY that commits as many", rounds.of_raw("ours_1000"), 0.25),
        Bar("1,000 a request, times the obvious way", obvious, 100),
        Bar("100 a request, of raw COPY that commits as many", rounds.of_raw("ours_100"), 0.2),
        Bar("1 a request, 64 connections: events a second", single.events_a_second, 10_000),
        Bar("1 a request, 64 connections: p99", single.latency_ms(0.99), 50, " ms", at_most=True),
        Bar("memory of a web worker at full load", max(rounds.watch.memory_mib), 200, " MiB", at_most=True),
    ]


def growth_bars(growth: Growth) -> list[Bar]:
    print(
        f"1,000 a request, events/s: {growth.small:,.0f} with {growth.small_rows:,} stored, {growth.large:,.0f} with"
        f" {growth.large_rows:,}, there with random ids {growth.large_random:,.0f}"
        f" ({growth.large_random / growth.small:.2f})."
    )
    return [Bar(f"{growth.large_rows:,} events stored, of 100,000", growth.large / growth.small, 0.85)]


def closing_bars(closing: Any) -> list[Bar]:
    return [
        Bar(f"{closing.conversations:,} conversations settled", closing.settling_s, 15, " s", at_most=True),
        Bar(f"{closing.invoices:,} customers' invoices", closing.billing_s, 30, " s", at_most=True),
    ]


def reading_bars(reads: Any) -> list[Bar]:
    return [Bar(f"{name}: p99", latency_ms, 10, " ms", at_most=True) for name, latency_ms in reads.items()]


def soak_bars(soaked: Soak) -> list[Bar]:
    print(
        f"{soaked.events:,} events in {soaked.seconds:.0f} s: {soaked.early_mib:.0f}, then {soaked.late_mib:.0f} MiB."
    )
    return [
        Bar("memory of a web worker at the end", soaked.late_mib, 200, " MiB", at_most=True),
        Bar("growth of a web worker meanwhile", soaked.late_mib / soaked.early_mib, 1.05, "", at_most=True),
    ]
