"""POST /v1/backfills and what follows: a file comes in over HTTP, is reported on, corrected, and taken back."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from api.keys import create_key
from api.rate_limits import RateLimit
from metering.catching_up import fold_waiting
from metering.models import Backfill, Event
from tests.cast import LATER, acme, report, settled
from tests.metering.backfills import as_csv, everything, ndjson, sent
from tests.rest import LONG_AGO, Caller

pytestmark = pytest.mark.django_db
URL = "/v1/backfills"
NDJSON = "application/x-ndjson"
CALLS = [report("e1"), report("e2", 1), report("e3", 30)]


@pytest.fixture
def filer(caller: Any) -> Caller:
    acme()
    return caller("backfill", "read")


def posted(filer: Caller, content: bytes, content_type: str = "text/csv", query: str = "") -> dict[str, Any]:
    answer = filer.post(URL + query, content, content_type=content_type)
    assert answer.status_code == 201, answer.content
    return answer.json()


def rejects(filer: Caller, record: dict[str, Any]) -> bytes:
    answer = filer.get(f"{URL}/{record['id']}/rejects.csv")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return b"".join(answer.streaming_content)


def test_a_file_is_stored_reported_and_listed(filer: Caller) -> None:
    record = posted(filer, as_csv(sent(CALLS)), query="?name=march.csv")
    assert (record["name"], record["state"], record["rows"], record["accepted"]) == ("march.csv", "finished", 3, 3)
    assert record["effect"] == {"conversations": 1, "counted_before": 0}
    fold_waiting(now=LATER)
    assert filer.get(f"{URL}/{record['id']}").json() == record
    listed = filer.get(URL).json()["data"]
    assert [{**row, "problems": [], "kept": []} for row in listed] == [record]
    assert Event.objects.count() == 3


def test_the_rows_of_a_file_count_against_the_rate_of_the_key() -> None:
    acme()
    _, key = create_key("files", ["backfill"], rate_limit=RateLimit(events_per_s=1, events_burst=2), now=LONG_AGO)
    slow = Caller(key)
    assert slow.post(URL, as_csv(sent(CALLS)), content_type="text/csv").status_code == 201
    refused = slow.post(URL, as_csv(sent([report("e4")])), content_type="text/csv")
    assert (refused.status_code, refused["RateLimit-Limit"]) == (429, "1")
    assert Backfill.objects.count() == 1


def test_csv_ndjson_and_gzip_of_the_same_events_store_the_same(filer: Caller) -> None:
    posted(filer, as_csv(sent(CALLS)), "text/csv; charset=utf-8")
    for body, content_type in ((ndjson(sent(CALLS)), NDJSON), (as_csv(sent(CALLS)), "text/csv")):
        answer = filer.post(URL, gzip.compress(body), content_type=content_type, content_encoding="gzip")
        assert answer.json()["duplicate"] == 3


def test_a_dry_run_says_the_same_and_stores_nothing(filer: Caller) -> None:
    before = everything()
    tried = posted(filer, ndjson(sent(CALLS)) + b"{}\n", NDJSON, "?dry_run=true")
    assert (tried["dry_run"], tried["accepted"], tried["rejected"]) == (True, 3, 1)
    assert everything() == before
    done = posted(filer, ndjson(sent(CALLS)) + b"{}\n", NDJSON)
    told_apart = ("id", "dry_run", "started_at", "finished_at")
    assert {k: v for k, v in tried.items() if k not in told_apart} == {
        k: v for k, v in done.items() if k not in told_apart
    }


def test_rejected_rows_of_csv_are_corrected_and_sent_again(filer: Caller) -> None:
    bad = as_csv(sent([report("e1"), report("=1+1"), report('ä,\n"x"')])).replace(b",900,", b",9e2,")
    record = posted(filer, bad)
    assert [problem["pointer"] for problem in record["problems"]] == ["/usage/input_tokens"] * 3
    assert record["problems"][1] == {
        "line": 3,
        "id": "=1+1",
        "status": "rejected",
        "pointer": "/usage/input_tokens",
        "reason": "must be a whole number in digits, not '9e2'",
    }
    again = posted(filer, rejects(filer, record).replace(b",9e2,", b",900,"))
    assert (again["accepted"], again["rejected"]) == (3, 0)
    assert {*Event.objects.values_list("event_id", flat=True)} == {"e1", "=1+1", 'ä,\n"x"'}


def test_rejected_lines_of_ndjson_are_corrected_and_sent_again_as_csv(filer: Caller) -> None:
    lines = ndjson(sent(CALLS)).replace(b'"chat"', b'""', 2)
    record = posted(filer, lines, NDJSON)
    assert record["rejected"] == 2
    rows = list(csv.DictReader(io.StringIO(rejects(filer, record).decode())))
    assert [(row["parley_line"], json.loads(row["event"])["id"]) for row in rows] == [("1", "e1"), ("2", "e2")]
    again = posted(filer, rejects(filer, record).replace(b'""conversation"":""""', b'""conversation"":""chat""'))
    assert (again["accepted"], Event.objects.count()) == (2, 3)


def test_bytes_that_were_no_utf8_come_back_as_they_came(filer: Caller) -> None:
    content = as_csv(sent([report("chät")])).decode().encode("latin-1")
    record = posted(filer, content)
    assert record["problems"][0]["reason"] == "is not valid UTF-8"
    assert "chät".encode("latin-1") in rejects(filer, record)


def test_an_undo_is_reported_and_may_be_repeated(filer: Caller, caller: Any) -> None:
    before = everything()
    record = posted(filer, ndjson(sent(CALLS)), NDJSON)
    caller("manage").post("/v1/events/e2/void", {"customer": "acme", "reason": "a test"})
    for _ in range(2):
        report_ = filer.post(f"{URL}/{record['id']}/undo", b"").json()
        assert report_["state"] == "undone"
        assert report_["undone"] == {"removed": 2, "restored": 0, "kept": 1}
        assert report_["kept"] == [{"customer": "acme", "id": "e2", "reason": "voided or amended since"}]
    Event.objects.all().delete()
    settled()
    assert everything() == before
    tried = posted(filer, ndjson(sent(CALLS)), NDJSON, "?dry_run=true")
    assert filer.post(f"{URL}/{tried['id']}/undo", b"").status_code == 409
    assert filer.post(f"{URL}/{acme().id}/undo", b"").status_code == 404


@pytest.mark.parametrize(
    ("body", "content_type", "query", "status", "said"),
    [
        (b"id,customer\n", "text/csv", "", 400, "a column is missing"),
        (b'id,"customer\n', "text/csv", "", 400, "quote left open"),
        (b"\x1f\x8b\x08", "text/csv", "", 400, "no field"),
        (b"\n", "text/csv", "", 400, "no head"),
        (b"{}", "application/json", "", 415, "text/csv"),
        (b"{}", "text/csv; charset=latin-1", "", 415, "UTF-8"),
        (b"{}", NDJSON, "?mapping=[]", 400, "mapping"),
        (b"{}", NDJSON, "?dry_run=maybe", 400, "query"),
        (b" " * (8 * 1024 * 1024 + 1), NDJSON, "", 413, "may have"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(
    filer: Caller, body: bytes, content_type: str, query: str, status: int, said: str
) -> None:
    answer = filer.post(URL + query, body, content_type=content_type)
    assert answer.status_code == status, answer.content
    assert said in answer.json()["detail"]
    assert not Backfill.objects.exists()


def test_keys_and_scopes_decide_who_may_file(filer: Caller, caller: Any) -> None:
    record = posted(filer, b"\n", NDJSON)
    assert caller("ingest", "read", "manage").post(URL, b"\n", content_type=NDJSON).status_code == 403
    assert caller("read").post(f"{URL}/{record['id']}/undo", b"").status_code == 403
    assert caller("backfill").get(f"{URL}/{record['id']}").status_code == 403


def test_columns_are_mapped_and_a_customer_named_for_the_whole_file(filer: Caller) -> None:
    content = as_csv(sent(CALLS)).replace(b"id,customer,", b"Request,nobody,", 1)
    query = "?customer=acme&mapping=" + json.dumps({"Request": "id", "nobody": ""})
    assert posted(filer, content, query=query)["accepted"] == 3


# --- the commands ---------------------------------------------------------------------------------------------------


def command(capsys: Any, *arguments: Any) -> str:
    call_command(*map(str, arguments))
    return str(capsys.readouterr().out)


def test_files_are_stored_and_taken_back_by_command(filer: Caller, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.csv").write_bytes(as_csv(sent(CALLS[:2])))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(ndjson(sent(CALLS[1:]))))
    tried = command(capsys, "backfill", tmp_path / "a.csv", "--dry-run")
    assert "nothing was stored" in tried and not Event.objects.exists()
    told = command(capsys, "backfill", tmp_path / "a.csv", tmp_path / "b.ndjson.gz")
    assert [line.split() for line in told.splitlines()[1:3]] == [
        ["a.csv", "2", "2", "0", "0", "0", "0", "0"],
        ["b.ndjson.gz", "2", "1", "1", "0", "0", "0", "0"],
    ]
    assert Event.objects.count() == 3
    for record in Backfill.objects.filter(dry_run=False).order_by("-id"):
        command(capsys, "undo_backfill", record.id)
    assert not Event.objects.exists()


def test_the_command_fails_where_rows_are_to_be_put_right_and_writes_them_down(
    filer: Caller, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "a.csv").write_bytes(as_csv(sent(CALLS)).replace(b",900,", b",x,", 1))
    with pytest.raises(CommandError, match="1 rows are to be put right"):
        call_command("backfill", str(tmp_path / "a.csv"), "--rejects", str(tmp_path / "out"))
    assert "a.csv:2 e1 rejected: /usage/input_tokens" in capsys.readouterr().out
    corrected = (tmp_path / "out" / "a.csv.rejects.csv").read_bytes().replace(b",x,", b",900,")
    (tmp_path / "b.csv").write_bytes(corrected)
    assert " 1 " in command(capsys, "backfill", tmp_path / "b.csv")
    assert Event.objects.count() == 3


def test_the_command_says_what_it_needs_to_know(filer: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"{}")
    for arguments, said in (
        ([], "CSV or NDJSON"),
        (["--format", "csv"], "no field of an event"),
        (["--format", "csv", "--mapping", "id"], "COLUMN=FIELD"),
        (["--customer", "nobody"], "no customer 'nobody'"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("backfill", str(path), *arguments)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("backfill", str(tmp_path / "gone.csv"))
