"""Whose usage is it? The customers behind the keys of a batch."""

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from metering.packed_arrays import raw_cursor, texts
from metering.usage_lock import LOCK_SPACE, SLOTS


class Payer(NamedTuple):
    """The customer an event belongs to."""

    id: uuid.UUID
    byok: bool


FIND = "SELECT key, id, byok FROM plans_customer WHERE key = ANY(%s::text[]) AND erased_at IS NULL"
# `usage_lock.share_usage_lock`, slots and order alike, on the way: one statement less on the path of every event.
FIND_AND_SHARE = f"""
SELECT key, id, byok, pg_advisory_xact_lock_shared({LOCK_SPACE}, slot)
FROM (SELECT *, get_byte(uuid_send(id), 15) %% {SLOTS} AS slot FROM ({FIND}) found ORDER BY slot) in_order"""


def find_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys."""
    return _payers(FIND, keys)


def share_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys, with their usage lock shared until the transaction ends."""
    return _payers(FIND_AND_SHARE, keys)


def _payers(query: str, keys: Iterable[str]) -> dict[str, Payer]:
    with raw_cursor() as cursor:
        cursor.execute(query, [texts(sorted(set(keys)))])
        return {row[0]: Payer(row[1], row[2]) for row in cursor.fetchall()}
