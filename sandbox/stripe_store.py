"""What does the Stripe stand-in remember? One SQLite file that survives a kill at any moment.

An object, the events it causes, their deliveries, the answer kept under the idempotency key and the journal of money
are written in one transaction and are on disk before the client gets its answer.
"""

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]  # a Stripe object in the shape of the API, without what is looked up when it is shown

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, customer TEXT, invoice TEXT,
    status TEXT, number TEXT, acts_at INTEGER, listed_at INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_object_a_number ON objects (kind, number);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_by_customer ON objects (customer, kind);
CREATE INDEX IF NOT EXISTS objects_by_invoice ON objects (invoice, kind);
CREATE INDEX IF NOT EXISTS objects_that_act ON objects (acts_at) WHERE acts_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
CREATE TABLE IF NOT EXISTS deliveries (
    event TEXT PRIMARY KEY, type TEXT NOT NULL, due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    delivered_at REAL, outcome TEXT);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE delivered_at IS NULL;
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, customer TEXT NOT NULL, invoice TEXT,
    charge TEXT NOT NULL, currency TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0));
CREATE INDEX IF NOT EXISTS journal_by_customer ON journal (customer);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
COLUMNS = frozenset({"id", "customer", "invoice", "status", "number"})
SIDES = {"charge": "charged", "refund": "refunded", "refund_failed": "refunded"}
RELATIONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "is": "="}


@dataclass(frozen=True)
class Cursor:
    """Which page of a list: `limit` objects after (older than) `beside`, or backwards from it."""

    limit: int
    beside: str = ""
    backwards: bool = False


class NumberTaken(Exception):
    """Another object of that kind already carries the number."""


class Store:
    """One connection behind one lock: the stand-in is correct first, and fast enough."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(folder / "stripe.sqlite3", isolation_level=None, check_same_thread=False, timeout=30)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block is left."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Inside a transaction: undoes only what the block did, if it fails."""
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO attempt")
            self._db.execute("RELEASE attempt")
            raise
        self._db.execute("RELEASE attempt")

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def write(self, sql: str, *values: object) -> None:
        with self._lock:
            self._db.execute(sql, values)

    # Objects

    def get(self, wanted: str) -> Object | None:
        rows = self.rows("SELECT body FROM objects WHERE id = ?", wanted)
        return json.loads(rows[0]["body"]) if rows else None

    def put(self, thing: Object, *, acts_at: int | None = None, listed_at: int = 0) -> None:
        """Creates or replaces. `acts_at`: when Stripe moves it on by itself; `listed_at`: when lists show it."""
        try:
            self.write(
                "INSERT INTO objects (id, kind, customer, invoice, status, number, acts_at, listed_at, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET customer = excluded.customer,"
                " status = excluded.status, number = excluded.number, acts_at = excluded.acts_at, body = excluded.body",
                thing["id"],
                thing["object"],
                thing.get("customer"),
                thing.get("invoice"),
                thing.get("status"),
                thing.get("number"),
                acts_at,
                listed_at,
                json.dumps(thing, separators=(",", ":")),
            )
        except sqlite3.IntegrityError as problem:
            raise NumberTaken(thing.get("number")) from problem

    def remove(self, wanted: str) -> None:
        self.write("DELETE FROM objects WHERE id = ?", wanted)

    def find(self, kind: str, where: Mapping[str, object] | None = None) -> list[Object]:
        """All of a kind, oldest first; `where` compares fields of the body, dots go inside."""
        conditions, values = _conditions(kind, where or {})
        sql = f"SELECT body FROM objects WHERE {conditions} ORDER BY seq"
        return [json.loads(row["body"]) for row in self.rows(sql, *values)]

    def listed(
        self, kind: str, where: Mapping[str, object], *, at: int, created: Mapping[str, int], cursor: Cursor
    ) -> list[Object]:
        """One page of a list, newest first (backwards: oldest first), and one object more where there is more."""
        conditions, values = _conditions(kind, where)
        conditions += " AND listed_at <= ? AND json_extract(body, '$.deleted') IS NULL"
        values.append(at)
        for relation, moment in created.items():
            conditions += f" AND json_extract(body, '$.created') {RELATIONS[relation]} ?"
            values.append(moment)
        if cursor.beside:
            sign = ">" if cursor.backwards else "<"
            conditions += f" AND seq {sign} (SELECT seq FROM objects WHERE id = ?)"
            values.append(cursor.beside)
        order = "ASC" if cursor.backwards else "DESC"
        sql = f"SELECT body FROM objects WHERE {conditions} ORDER BY seq {order} LIMIT ?"
        return [json.loads(row["body"]) for row in self.rows(sql, *values, cursor.limit + 1)]

    def count(self, kind: str, **columns: str) -> int:
        assert columns.keys() <= COLUMNS
        conditions = "".join(f" AND {column} = ?" for column in columns)
        return int(self.rows(f"SELECT count(*) FROM objects WHERE kind = ?{conditions}", kind, *columns.values())[0][0])

    def acting(self, now: int) -> list[str]:
        """Ids of what Stripe would move on by itself by now."""
        return [row["id"] for row in self.rows("SELECT id FROM objects WHERE acts_at <= ? ORDER BY seq", now)]

    # Settings

    def setting(self, name: str, default: str = "") -> str:
        rows = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return str(rows[0]["value"]) if rows else default

    def set(self, name: str, value: str) -> None:
        self.write(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )

    # Money that really moved: the account to compare a product's books with

    def journal(self, *, at: int, kind: str, charge: Object, invoice: str | None, amount: int) -> None:
        self.write(
            "INSERT INTO journal (at, kind, customer, invoice, charge, currency, amount) VALUES (?, ?, ?, ?, ?, ?, ?)",
            at,
            kind,
            charge["customer"],
            invoice,
            charge["id"],
            charge["currency"],
            amount,
        )

    def charged(self, customer: str) -> Object:
        """Minor units per currency and per invoice that were charged to and refunded to the customer's card."""
        sums: dict[str, dict[str, int]] = {"charged": defaultdict(int), "refunded": defaultdict(int)}
        invoices: dict[str, Object] = {}
        for row in self.rows("SELECT * FROM journal WHERE customer = ? ORDER BY seq", customer):
            of_invoice = invoices.setdefault(
                row["invoice"] or "", {"currency": row["currency"], "charges": 0, "charged": 0, "refunded": 0}
            )
            side, amount = SIDES[row["kind"]], -row["amount"] if row["kind"] == "refund_failed" else row["amount"]
            sums[side][row["currency"]] += amount
            of_invoice[side] += amount
            of_invoice["charges"] += row["kind"] == "charge"
        return {
            "customer": customer,
            "charged": dict(sums["charged"]),
            "refunded": dict(sums["refunded"]),
            "invoices": invoices,
        }


def _conditions(kind: str, where: Mapping[str, object]) -> tuple[str, list[object]]:
    conditions, values = "kind = ?", list[object]([kind])
    for field, value in where.items():
        wanted = value if isinstance(value, list) else [value]
        marks = ", ".join("?" for _ in wanted)
        if field in COLUMNS:
            conditions += f" AND {field} IN ({marks})"
        else:
            conditions += f" AND json_extract(body, ?) IN ({marks})"
            values.append(f"$.{field}")
        values += wanted
    return conditions, values
