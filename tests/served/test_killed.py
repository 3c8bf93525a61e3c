"""Any process may be killed at any moment of a replay: nothing acknowledged is lost, nothing is counted twice."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.served.real_usage import EXPECTED, create_customers, field_of_file, figures, file, needs_real_usage, replayed
from tests.served.serving import Served, eventually, processes_of, serving

CALLS, GROWING_CALLS = "claude_code_sessions", "claude_code_raw_lines"
SLOWLY = ("--batch", "4")  # so that there is a middle to be killed in
RECOVERS_WITHIN_S = 60.0
BETWEEN_KILLS = 150  # events
PLAN = {
    "currency": "USD",
    "interval": "month",
    "base_fee": "49.00",
    "rates": {
        tier: {"included": 1, "price": {"model": "flat", "unit": unit}}
        for tier, unit in [("simple", "0.02"), ("standard", "0.05"), ("complex", "0.15"), ("enterprise", "0.50")]
    },
}

pytestmark = needs_real_usage


def test_web_worker_and_database_are_killed_in_the_middle_of_a_replay_and_it_ends_well(served: Served) -> None:
    publish_plan(served)
    replay = served.start_command("replay", file(CALLS), *SLOWLY, "--create-customers", "growth")
    killed = []
    for victims in (web_workers, web_server, background_worker, database):
        wait_for_more_events(served, BETWEEN_KILLS)
        assert replay.poll() is None, "the replay ended before everything was killed"
        killed += kill(victims(served))
    printed, complaints = replay.communicate(timeout=RECOVERS_WITHIN_S)
    assert replay.returncode == 0, complaints
    assert len(killed) >= 10
    told = replayed(printed)[CALLS]
    assert told["accepted"] + told.get("duplicate", 0) == told["sent"] == served.count("metering_event")
    everything_is_as_if_nothing_had_happened(served, CALLS)


def test_everything_is_killed_at_once_and_a_second_start_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        create_customers(served, GROWING_CALLS)
        replay = served.start_command("replay", file(GROWING_CALLS), "--batch", "1", "--patience", "0.5")
        wait_for_more_events(served, 100)
        kill(everything(served, but=replay))
        replay.wait(RECOVERS_WITHIN_S)
        assert replay.returncode == 1
        acknowledged = ids_acknowledged(replay)
        served.start()
        stored = {row[0] for row in served.query("SELECT event_id FROM metering_event")}
        assert len(acknowledged) 
