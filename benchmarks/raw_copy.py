"""How fast could the database take the same rows at best? Binary COPY, ready encoded, to a twin of the event table."""

import os
import time

import psycopg

TWIN = "bench_raw_copy"
_SIGNATURE, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def raw_copy_rate(rows: int, rows_a_commit: int) -> float:
    """Rows a second through one connection that commits every so many rows, indexes and all."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        batches = _last_rows(connection, rows, rows_a_commit)
        connection.execute(f"DROP TABLE IF EXISTS {TWIN}")
        connection.execute(f"CREATE TABLE {TWIN} (LIKE metering_event INCLUDING ALL)")
        begin = time.monotonic()
        for batch in batches:
            with connection.cursor().copy(f"COPY {TWIN} FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(batch)
        elapsed_s = time.monotonic() - begin
        [copied] = connection.execute(f"SELECT count(*) FROM {TWIN}").fetchone() or [0]
        connection.execute(f"DROP TABLE {TWIN}")
        return copied / elapsed_s


def _last_rows(connection: psycopg.Connection[tuple[object, ...]], rows: int, rows_a_commit: int) -> list[bytes]:
    """The rows stored last, in the order they arrived in, as one COPY for each commit."""
    newest = f"SELECT *, ctid AS place FROM metering_event ORDER BY ctid DESC LIMIT {rows}"
    [columns] = connection.execute(
        "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'metering_event'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchone() or [""]
    with connection.cursor().copy(
        f"COPY (SELECT {columns} FROM ({newest}) n ORDER BY place) TO STDOUT (FORMAT BINARY)"
    ) as copy:
        encoded = b"".join(copy)
    return _cut(encoded, rows_a_commit)


def _cut(encoded: bytes, rows_each: int) -> list[bytes]:
    """One binary COPY as many: each row is a field count and then length-prefixed fields."""
    batches, start, place, rows = [], len(_SIGNATURE), len(_SIGNATURE), 0
    while (fields := int.from_bytes(encoded[place : place + 2], signed=True)) >= 0:
        place += 2
        for _ in range(fields):
            place += 4 + max(0, int.from_bytes(encoded[place : place + 4], signed=True))
        rows += 1
        if rows % rows_each == 0:
            batches.append(_SIGNATURE + encoded[start:place] + _END)
            start = place
    if start < place:
        batches.append(_SIGNATURE + encoded[start:place] + _END)
    return batches
