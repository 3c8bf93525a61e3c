"""Any process may be killed at any moment of a replay: nothing acknowledged is lost, and nothing is counted twice."""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.real_usage import EXPECTED, needs_real_usage
from tests.served.killing import DATABASE, WEB, WORKER, children, kill, program, wait_for_more_events
from tests.served.real_usage import create_customers, figures, file, replayed
from tests.served.serving import Served, eventually, processes_of, serving

CALLS, GROWING_CALLS = "claude_code_sessions", "claude_code_raw_lines"
RECOVERS_WITHIN_S = 60.0
SETTLED_AFTER = dt.timedelta(days=4)
FLAT = {"simple": "0.02", "standard": "0.05", "complex": "0.15", "enterprise": "0.50"}
TERMS = {
    "currency": "USD",
    "interval": "month",
    "base_fee": "49.00",
    "rates": {tier: {"included": 1, "price": {"model": "flat", "unit": unit}} for tier, unit in FLAT.items()},
}
VICTIMS: list[Callable[[Served], Iterable[int]]] = [
    lambda served: sorted(children(served, WEB))[:1],
    lambda served: program(served, WEB),
    lambda served: program(served, WORKER),
    lambda served: program(served, DATABASE),
]

pytestmark = needs_real_usage


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """One for each test, as nothing of it will be spared."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def lately() -> tuple[str, str]:
    """For `replay`: the real usage happens so lately that few periods are over, and so long ago that it all settles."""
    return "--shift-to", (dt.datetime.now(dt.UTC).date() - SETTLED_AFTER).isoformat()


def test_web_worker_and_database_are_killed_in_the_middle_of_a_replay_which_ends_well(
    served: Served, lately: tuple[str, str]
) -> None:
    publish_plan(served)
    told = ("replay", file(CALLS), "--batch", "2", "--create-customers", "growth", *lately)
    with served.at_work(*told) as replay:
        for victims in VICTIMS:
            wait_for_more_events(served, 150)
            assert replay.poll() is None, "the replay ended before everything was killed"
            kill(victims(served))
        printed, complaints = replay.communicate(timeout=RECOVERS_WITHIN_S)
    assert replay.returncode == 0, complaints
    counts = replayed(printed)[CALLS]
    assert counts["accepted"] + counts.get("duplicate", 0) == counts["sent"] == served.count("metering_event")
    assert eventually(lambda: bool(program(served, WORKER)), within_s=RECOVERS_WITHIN_S)
    everything_is_as_if_nothing_had_happened(served, CALLS, *lately)


def test_everything_is_killed_at_once_and_a_new_start_goes_on_with_all_that_was_acknowledged(served: Served) -> None:
    create_customers(served, GROWING_CALLS)
    one_by_one = ("--batch", "1", "--connections", "1", "--patience", "1")
    with served.at_work("replay", file(GROWING_CALLS), *one_by_one) as replay:
        wait_for_more_events(served, 100)
        kill(pid for pid in processes_of(served.data_dir) if pid != replay.pid)
        printed, complaints = replay.communicate(timeout=RECOVERS_WITHIN_S)
    assert replay.returncode == 1
    assert "replaying all of them again is harmless" in complaints
    served.start()
    stored = {row[0] for row in served.query("SELECT event_id FROM metering_event")}
    lines = [json.loads(line) for line in Path(file(GROWING_CALLS)).read_text().splitlines()]
    acknowledged = replayed(printed)[GROWING_CALLS]["sent"]
    assert {line["id"] for line in lines[:acknowledged]} <= stored
    assert stored <= {line["id"] for line in lines[: acknowledged + 1]}
    served.run("replay", file(GROWING_CALLS))
    everything_is_as_if_nothing_had_happened(served, GROWING_CALLS)


def publish_plan(served: Served) -> None:
    served.ask("/v1/plans", {"code": "growth", "name": "Growth"})
    served.ask("/v1/plans/growth/versions", TERMS)
    served.ask("/v1/plans/growth/versions/1/publish", {})


def everything_is_as_if_nothing_had_happened(served: Served, name: str, *options: str) -> None:
    """Replayed once more it is all duplicates, the figures are the published ones, and the books are right."""
    again = replayed(served.run("replay", file(name), *options))[name]
    assert again == {"sent": again["sent"], "duplicate": again["sent"]}
    served.run("settle")
    assert figures(served, name) == EXPECTED[name]
    served.run("bill")
    served.run("check_books")
