"""Product and Parley are both killed in the middle of their work: all that was recorded is in Parley once."""

from pathlib import Path

from tests.clients.producing import Producer
from tests.clients.test_processes import wait_until_empty
from tests.served.killing import kill
from tests.served.serving import processes_of, serving


def test_nothing_recorded_is_lost_or_doubled_when_both_are_killed_at_work(tmp_path: Path) -> None:
    spool, data_dir = tmp_path / "spool", tmp_path / "parley"
    data_dir.mkdir()
    with serving(data_dir) as served:
        served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})
        with Producer(served.url, spool, "first", 100_000, key=served.key) as first:
            first.wait_for_calls(500)
            kill(processes_of(served.data_dir))
            first.wait_for_calls(len(first.recorded) + 200)  # it does not mind
            recorded = first.kill()
        served.start()
        with Producer(served.url, spool, "second", 50, key=served.key) as second:
            second.wait_for_calls(50)
            wait_until_empty(spool)
            recorded += second.recorded
        stored = [row[0] for row in served.query("SELECT event_id FROM metering_event")]
    assert set(recorded) <= set(stored)
    assert len(stored) == len(set(stored)) <= len(recorded) + 1  # killed between recording and saying so
