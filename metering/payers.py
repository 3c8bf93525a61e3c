"""Whose usage is it? The customers behind the keys of a batch."""

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from metering.packed_arrays import raw_cursor, texts
from metering.usage_lock import SHARE_IN_ORDER


class Payer(NamedTuple):
    """The customer an event belongs to."""

    id: uuid.UUID
    byok: bool


FIND = "SELECT key, id, byok FROM plans_customer WHERE key = ANY(%s::text[]) AND erased_at IS NULL"
FIND_AND_SHARE = SHARE_IN_ORDER.format(FIND)


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
