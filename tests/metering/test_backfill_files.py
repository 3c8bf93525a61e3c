"""Files are read as strictly as requests, whoever wrote them: a bad row is named by its line, and spoils no other."""

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from metering import backfill_reading
from metering.backfill_columns import UnusableFile, read_head
from metering.backfill_reading import Row, batches, format_of, open_path, survey
from tests.metering.backfills import a_file

HEAD = "id,customer,conversation,occurred_at,provider,model,input_tokens,output_tokens"
CALL = "e1,acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900,100"
FULL_HEAD = f"{HEAD},turn,byok,provider_usage"


def rows_of(content: bytes | str, format: str = "csv", **options: Any) -> list[Row]:
    content = content if isinstance(content, bytes) else content.encode()
    file = a_file(content, format, **options)
    survey(file)
    return [row for batch in batches(file) for row in batch]


def faults(content: bytes | str, format: str = "csv", **options: Any) -> list[tuple[int, str]]:
    return [(row.line, row.fault.pointer) for row in rows_of(content, format, **options) if row.fault is not None]


def event_of(content: bytes | str, format: str = "csv", **options: Any) -> Any:
    (row,) = rows_of(content, format, **options)
    assert row.sent is not None, row.fault
    return row.sent


def test_a_row_is_an_event_and_an_empty_cell_an_absent_field() -> None:
    event = event_of(f"{FULL_HEAD}\n{CALL},,,\n")
    assert (event.id, event.usage.input_tokens, event.usage.output_tokens) == ("e1", 900, 100)
    assert (event.turn, event.byok, event.kind) == (None, None, "completion")


def test_what_spreadsheets_write_is_understood() -> None:
    call = CALL.replace("chat", '"two\nlines"')
    event = event_of(f"\ufeff{FULL_HEAD}\r\n{call},3,TRUE,\r\n,,,,,,,,,,\r\n")
    assert (event.conversation, event.turn, event.byok) == ("two\nlines", 3, True)
    german = f"{HEAD}\n{CALL}\n".replace(",", ";")
    assert event_of(german).model == "gpt-4o"


def test_lines_are_counted_as_an_editor_does() -> None:
    two_lines = CALL.replace("chat", '"two\nlines"').replace("100", "x")
    assert faults(f"{HEAD}\n{CALL}\n{two_lines}\n\n{two_lines}\n") == [
        (3, "/usage/output_tokens"),
        (6, "/usage/output_tokens"),
    ]


@pytest.mark.parametrize("number", ["1.0", "-1", "+1", "1e3", "1,5", " 1", "007", "٣", "１", "0x1", "1_000", "9" * 19])
def test_a_number_is_digits_and_nothing_else(number: str) -> None:
    assert faults(f'{HEAD},turn\n{CALL},"{number}"\n') == [(2, "/turn")]


@pytest.mark.parametrize(
    ("cells", "pointer"),
    [
        ("e1,acme,chat,2026-11-02T12:00:00,openai,gpt-4o,900,100", "/occurred_at"),
        ("e1,acme,chat,02.11.2026,openai,gpt-4o,900,100", "/occurred_at"),
        ("e1,acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900,1000000001", "/usage/output_tokens"),
        ("e1,acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900,", "/usage/output_tokens"),
        ("e1,acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900", ""),
        (f"{CALL},more", ""),
        (",acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900,100", "/id"),
        ("e\0,acme,chat,2026-11-02T12:00:00Z,openai,gpt-4o,900,100", "/id"),
    ],
)
def test_a_bad_row_says_where_and_spoils_no_other(cells: str, pointer: str) -> None:
    rows = rows_of(f"{HEAD}\n{cells}\n{CALL}\n")
    assert [row.fault and row.fault.pointer for row in rows] == [pointer, None]


def test_bytes_that_are_no_utf8_are_a_fault_of_their_row() -> None:
    bad = CALL.replace("chat", "chät").encode("latin-1")
    assert faults(HEAD.encode() + b"\n" + bad + b"\n" + CALL.encode()) == [(2, "/conversation")]
    assert faults(b'{"id": "\xe4"}\n', "ndjson") == [(1, "")]


def test_the_providers_own_usage_is_json_in_a_cell() -> None:
    head = HEAD.replace("input_tokens,output_tokens", "provider_usage")
    call = CALL.replace("900,100", '"{""prompt_tokens"": 900}"')
    assert event_of(f"{head}\n{call}\n").provider_usage == {"prompt_tokens": 900}
    assert faults(f"{head}\n{call.replace('900', 'NaN')}\n") == [(2, "/provider_usage")]
    assert faults(f'{FULL_HEAD}\n{CALL},,,"{{{{"\n') == [(2, "/provider_usage")]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "no head"),
        ("id,customer", "missing: conversation, occurred_at, provider, model"),
        (f"{HEAD},notes", "'notes' is no field"),
        (f"{HEAD},id", "two columns for id"),
        (HEAD.replace(",output_tokens", ""), "input_tokens and output_tokens, or provider_usage"),
        (f'{HEAD},"turn', "quote left open"),
    ],
)
def test_a_file_whose_head_names_no_events_is_refused_whole(head: str, said: str) -> None:
    with pytest.raises(UnusableFile, match=said):
        rows_of(f"{head}\n{CALL}\n")


def test_a_quote_that_never_closes_is_found_before_anything_is_stored() -> None:
    with pytest.raises(UnusableFile, match="line 3"):
        survey(a_file(f'{HEAD}\n{CALL}\n"{CALL}\n{CALL}\n'.encode(), "csv"))


def test_columns_may_be_mapped_skipped_and_left_out_for_one_customer() -> None:
    content = f"{HEAD},notes\n{CALL},late\n".replace("customer,", "").replace("acme,", "").replace("id,", "Request ID,")
    event = event_of(content, customer="acme", mapping={"Request ID": "id", "notes": ""})
    assert (event.id, event.customer) == ("e1", "acme")
    with pytest.raises(UnusableFile, match="no column 'when'"):
        read_head(HEAD.split(","), {"when": "occurred_at"}, has_customer=False)


def test_lines_of_json_may_be_mapped_too() -> None:
    line = '{"request": "e1", "notes": 1, "conversation": "chat", "occurred_at": "2026-11-02T12:00:00Z", '
    line += '"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1, "output_tokens": 1}}'
    mapping = {"request": "id", "notes": ""}
    assert event_of(line, "ndjson", customer="acme", mapping=mapping).id == "e1"
    assert faults('{"a": 1, "b": 2}', "ndjson", mapping={"a": "id", "b": "id"}) == [(1, "/id")]


def test_each_line_of_ndjson_stands_for_itself() -> None:
    content = b'\xef\xbb\xbf{"id": "a"}\r\n\r\nnot json\n{"id": "b", "id": "c"}\n[]\n{"id": "\\ud800"}\n{"id": NaN}'
    assert faults(content, "ndjson") == [(1, "/customer"), (3, ""), (4, "/id"), (5, ""), (6, ""), (7, "")]


def test_a_line_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "MAX_LINE_BYTES", 1600)
    long, short = rows_of(b'{"id": "' + b"x" * 10_000 + b'"}\n{"id": "b"}', "ndjson")
    assert (long.line, len(long.raw), short.line) == (1, 100, 2)
    assert long.fault is not None and "longer than" in long.fault.detail


def test_a_row_without_end_is_a_fault_of_that_row_and_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "MAX_LINE_BYTES", 1600)
    content = f'{HEAD},notes\n{CALL},"{"x" * 800}\n{"x" * 800}"\n{CALL},y\n'
    long, short = rows_of(content, mapping={"notes": ""})
    assert (long.line, long.event_id, short.line, short.fault) == (2, "e1", 4, None)
    assert long.fault is not None and "longer than" in long.fault.detail
    assert len(long.raw) < 300


def test_a_long_cell_spoils_neither_its_row_nor_the_file() -> None:
    long, short = rows_of(f"{HEAD},notes\n{CALL},{'x' * 140_000}\n{CALL},y\n", mapping={"notes": ""})
    assert (long.fault, short.fault) == (None, None)
    assert faults(f"{HEAD},notes\n{CALL},{'x' * 1_100_000}\n{CALL},y\n", mapping={"notes": ""}) == [(2, "")]


def test_batches_are_bounded_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 3)
    monkeypatch.setattr(backfill_reading, "BATCH_BYTES", 100)
    file = a_file(b"1\n" * 7 + b"2" * 200 + b"\n3\n", "ndjson")
    assert [len(batch) for batch in batches(file)] == [3, 3, 2, 1]
    assert [len(batch) for batch in batches(file, skip=8)] == [1]
    assert survey(file).rows == 9


def test_files_are_unpacked_whatever_their_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"hello"))
    (tmp_path / "b.csv.gz").write_bytes(b"hello")
    for name in ("a.csv", "b.csv.gz"):
        with open_path(tmp_path / name) as file:
            assert file.read() == b"hello"
    assert [format_of(name) for name in ("a.CSV", "b.jsonl.gz", "c.ndjson", "d.txt")] == [
        "csv",
        "ndjson",
        "ndjson",
        None,
    ]


def test_a_torn_or_missing_file_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "torn.csv"
    path.write_bytes(gzip.compress(f"{HEAD}\n{CALL}\n".encode() * 99)[:-20])
    with pytest.raises(UnusableFile, match="cannot be read"):
        survey(backfill_reading.EventFile("torn", "csv", lambda: open_path(path)))
    with pytest.raises(UnusableFile, match="cannot be read"):
        survey(backfill_reading.EventFile("gone", "csv", lambda: open_path(tmp_path / "gone")))


def test_an_empty_file_of_lines_has_no_rows() -> None:
    assert rows_of(b"", "ndjson") == rows_of(b"\n\n", "ndjson") == []
    assert survey(backfill_reading.EventFile("none", "ndjson", io.BytesIO)).rows == 0
