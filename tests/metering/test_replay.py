"""Files go through the REST API of a running server, and going there twice, or in another order, changes nothing."""

import datetime as dt
import gzip
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from api import keys
from metering.catching_up import fold_waiting
from metering.models import Conversation, Event
from metering.replaying import Source, batches
from parley_client.api import MAX_BODY_BYTES, events_body
from tests import cast

REALDATA = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "events"
COUNTS = ("sent", "accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")

live = pytest.mark.django_db(transaction=True)


@pytest.fixture
def replay(live_server, capsys):
    """replay(*files, **options) runs the command against the live server; the counts of the last line of its table."""
    keys._cache.clear()
    cast.restore_default_scheme()
    key = keys.create_key("replay", ["ingest", "read", "manage", "backfill"], now=cast.NOON)[1]

    def run(*files, **options):
        call_command("replay", *files, **{"url": live_server.url, "key": key} | options)
        return counts(capsys.readouterr().out)

    return run


def counts(printed):
    rows = [line.split() for line in printed.splitlines() if len(line.split()) == len(COUNTS) + 1]
    return {name: int(number) for name, number in zip(COUNTS, rows[-1][1:], strict=True) if number != "0"}


def event(number, *, minutes=0, conversation="chat", customer="acme", **fields):
    at = dt.datetime(2026, 3, 10, 23, 30, tzinfo=dt.UTC) + dt.timedelta(minutes=minutes)
    usage = {"input_tokens": 900, "output_tokens": 100}
    named = {"id": f"e{number}", "customer": customer, "conversation": conversation, "occurred_at": at.isoformat()}
    return named | {"provider": "openai", "model": "gpt-4o", "usage": usage, "turn": number} | fields


@pytest.fixture
def file_of(tmp_path):
    def write(*events, name="events.ndjson"):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in events]
        text = "\n".join(lines).encode() + b"\n"
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return str(tmp_path / name)

    return write


def folds():
    fold_waiting(now=cast.LATER)
    return [
        *Conversation.objects.order_by("reference", "ordinal").values_list(
            "reference", "calls", "settled__turns", "opened_at"
        )
    ]


@live
def test_events_of_all_files_become_conversations(replay, file_of):
    cast.acme()
    one = file_of(event(1), event(2, minutes=5), name="one.ndjson")
    two = file_of(event(3, conversation="other"), name="two.ndjson.gz")
    assert replay(one, two) == {"sent": 3, "accepted": 3}
    assert [(reference, calls) for reference, calls, *_ in folds()] == [("chat", 2), ("other", 1)]


@live
@pytest.mark.parametrize("order", ["forward", "backward", "shuffle"])
def test_replaying_again_in_any_order_changes_nothing(replay, file_of, order):
    cast.acme()
    file = file_of(*(event(number, minutes=9 * number, conversation=f"c{number % 3}") for number in range(1, 30)))
    replay(file)
    before = folds()
    assert replay(file, order=order, batch=4) == {"sent": 29, "duplicate": 29}
    assert folds() == before


@live
def test_backwards_first_gives_the_same_conversations(replay, file_of):
    cast.acme()
    cast.cleo()
    events = [event(number, minutes=400 * number, conversation=f"c{number % 3}") for number in range(1, 30)]
    replay(file_of(*events), order="backward", batch=5)
    backwards = folds()
    replay(file_of(*(line | {"customer": "cleo"} for line in events)))
    assert [*backwards] == folds()[::2]


@live
def test_missing_customers_are_created_and_subscribed_from_their_first_month(replay, file_of):
    cast.a_plan("growth")
    file = file_of(event(1), event(2, customer="bolt", minutes=60 * 24 * 30))
    assert replay(file, create_customers="growth") == {"sent": 2, "accepted": 2}
    acme, bolt = (cast.Customer.objects.get(key=key) for key in ("acme", "bolt"))
    assert acme.subscriptions.get().starts_at == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert bolt.subscriptions.get().starts_at == dt.datetime(2026, 4, 1, tzinfo=dt.UTC)


@live
def test_customers_that_exist_are_left_as_they_are(replay, file_of):
    cast.a_plan("growth")
    acme = cast.acme(currency="EUR")
    assert replay(file_of(event(1)), create_customers="growth") == {"sent": 1, "accepted": 1}
    assert not acme.subscriptions.exists()


@live
def test_an_unknown_plan_sends_nothing(replay, file_of):
    with pytest.raises(CommandError, match="no plan growth"):
        replay(file_of(event(1)), create_customers="growth")
    assert not Event.objects.exists()


@live
def test_events_of_unknown_customers_are_quarantined(replay, file_of):
    assert replay(file_of(event(1))) == {"sent": 1, "quarantined": 1}


@live
def test_shifting_moves_everything_by_the_same_whole_days(replay, file_of):
    cast.acme()
    replay(file_of(event(1), event(2, minutes=60)), shift_to=dt.date(2026, 11, 10))
    instants = [at.isoformat() for at in Event.objects.order_by("event_id").values_list("occurred_at", flat=True)]
    assert instants == ["2026-11-09T23:30:00+00:00", "2026-11-10T00:30:00+00:00"]


@live
def test_bad_lines_are_named_and_spoil_nothing(replay, file_of, capsys):
    cast.acme()
    nul = json.dumps(event(7, conversation="a\0b"))
    file = file_of(event(1), "{oops", event(2, turn=0), nul, event(3))
    with pytest.raises(CommandError, match="3 rejected"):
        replay(file)
    printed = capsys.readouterr().out
    assert counts(printed) == {"sent": 5, "accepted": 2, "rejected": 3}
    assert [number for number in range(1, 6) if f"events.ndjson:{number} " in printed] == [2, 3, 4]


@live
def test_a_conflict_fails_the_command_but_not_the_rest(replay, file_of):
    cast.acme()
    with pytest.raises(CommandError, match="1 conflict"):
        replay(file_of(event(1), event(1, conversation="another"), event(2)))
    assert Event.objects.count() == 2


@live
def test_standard_input_is_a_file_too(replay, monkeypatch):
    cast.acme()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(event(1)).encode())))
    assert replay("-") == {"sent": 1, "accepted": 1}


@live
def test_a_wrong_key_is_said_plainly(replay, file_of):
    with pytest.raises(CommandError, match=r"401.*\n0 of 1 events were acknowledged"):
        replay(file_of(event(1)), key="pk_wrong")


@live
@pytest.mark.skipif(not REALDATA.exists(), reason="the real data lies beside the project, not in it")
def test_a_real_stream_that_reports_growth_is_merged(replay):
    file = str(REALDATA / "claude_code_raw_lines.ndjson")
    cast.a_plan("growth")
    first = replay(file, create_customers="growth", batch=100)
    assert (first["sent"], first["accepted"], Event.objects.count()) == (801, 344, 344)
    assert replay(file, order="shuffle", batch=50) == {"sent": 801, "duplicate": 801}


def test_a_silent_server_is_given_up(file_of):
    with pytest.raises(CommandError, match=r"gave up.*\n0 of 1 events were acknowledged"):
        call_command("replay", file_of(event(1)), url="http://127.0.0.1:9", key="pk_any", patience=0.3)


def test_an_overloaded_server_is_asked_again(file_of, capsys):
    with busy_server(refusals=2) as (url, bodies):
        call_command("replay", file_of(event(1)), url=url, key="pk_any", connections=1)
    assert counts(capsys.readouterr().out) == {"sent": 1, "accepted": 1}
    assert len(bodies) == 3 and len(set(bodies)) == 1


def test_no_request_reaches_the_size_limit(file_of):
    long = file_of(*(event(number, conversation="c" * 500, feature="f" * 64) for number in range(3_000)))
    cut = [*batches([Source("long", Path(long))], size=1_000, order="forward", shift_days=0)]
    wide = file_of(*(event(number, model="m" * 2_000) for number in range(3_000)))
    cut += batches([Source("wide", Path(wide))], size=1_000, order="forward", shift_days=0)
    assert sum(len(batch.lines) for batch in cut) == 6_000
    bodies = [events_body([line.json for line in batch.lines]) for batch in cut]
    assert MAX_BODY_BYTES * 0.99 < max(map(len, bodies)) <= MAX_BODY_BYTES


class busy_server:
    """A server that is overloaded for a few requests; yields its URL and the bodies it was sent."""

    def __init__(self, refusals):
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                full = len(bodies) <= refusals
                answer = dict.fromkeys(COUNTS[1:], 0) | {"accepted": 1, "results": []}
                self.send_response(503 if full else 200)
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(b"" if full else json.dumps(answer).encode())

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}", self.bodies

    def __exit__(self, *exc):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
