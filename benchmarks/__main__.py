"""`make bench`: what one machine can do, as figures and ratios taken in one run, each beside what is asked for.

Exits with 1 if anything falls short of its bar.
"""

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

import django

from benchmarks.growing import measure_growth
from benchmarks.ingesting import FULL, QUICK, create_cast, ingest_rounds
from benchmarks.machine import machine, telling_stolen_time
from benchmarks.report import Bar, closing_bars, growth_bars, ingest_bars, ingest_table, reading_bars, soak_bars
from benchmarks.served import temporary_database
from benchmarks.soaking import soak

PARTS = ("ingest", "grow", "close", "read", "soak")
USUAL = ("ingest", "grow", "close", "read")
"""`soak` takes as long as it is told to, and is asked for by name."""


def main() -> int:
    options = arguments()
    bars: list[Bar] = []
    with temporary_database() as data_dir:
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        django.setup()
        print(machine(), flush=True)
        now = dt.datetime.now(dt.UTC)
        key = create_cast(now)
        for part in options.only or USUAL:
            with telling_stolen_time(part):
                bars += measure(part, options, data_dir, key, now)
    print("\n".join(map(str, bars)))
    short = [bar for bar in bars if not bar.is_met]
    print(f"{len(short)} of {len(bars)} fall short." if short else f"All {len(bars)} bars are met.")
    return 1 if short else 0


def measure(part: str, options: argparse.Namespace, data_dir: Path, key: str, now: dt.datetime) -> list[Bar]:
    """Measure one part, and print what is worth reading of it."""
    if part == "ingest":
        rounds = ingest_rounds(data_dir, QUICK if options.quick else FULL, key, say=progress)
        print(ingest_table(rounds), flush=True)
        return ingest_bars(rounds)
    if part == "grow":
        rows, seconds = (500_000, 3.0) if options.quick else (10_000_000, 6.0)
        return growth_bars(measure_growth(data_dir, key, rows=rows, seconds=seconds, say=progress))
    if part == "soak":
        return soak_bars(soak(data_dir, key, seconds=options.soak, say=progress))
    if part == "close":
        from benchmarks.closing import close_month

        return closing_bars(close_month(quick=options.quick, now=now))
    from benchmarks.reading import measure_reads

    return reading_bars(measure_reads(data_dir, quick=options.quick, now=now))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it runs, not to compare")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--soak", type=float, default=600.0, metavar="SECONDS", help="how long `--only soak` takes")
    return parser.parse_args()


def progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
