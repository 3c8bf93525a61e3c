"""Whose usage is it? The customers behind the keys of a batch.

A process remembers those it has seen. What it remembers may be out of date, and is only good for a transaction that
has the database confirm it.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from metering.one_exchange import Statement, Step
from metering.packed_arrays import bools, raw_cursor, texts, uuids
from metering.usage_lock import SHARE_IN_ORDER


class Payer(NamedTuple):
    """The customer an event belongs to."""

    id: uuid.UUID
    byok: bool


FIND = "SELECT key, id, byok FROM plans_customer WHERE key = ANY(%s::text[]) AND erased_at IS NULL"
FIND_AND_SHARE = SHARE_IN_ORDER.format(FIND)
CONFIRM = Statement("SELECT metering_confirm_payers($1::text[], $2::uuid[], $3::bool[])")
MOST_REMEMBERED = 50_000

_remembered: dict[str, Payer] = {}


def find_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys."""
    return _payers(FIND, keys)


def share_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys, with their usage lock shared until the transaction ends."""
    return _payers(FIND_AND_SHARE, keys)


def remembered_payers(keys: Collection[str]) -> dict[str, Payer] | None:
    """The customers of these keys, as they were; None if this process does not remember all of them."""
    payers = {key: payer for key in keys if (payer := _remembered.get(key)) is not None}
    return payers if len(payers) == len(keys) else None


def confirming(payers: Mapping[str, Payer]) -> Step:
    """A step that fails (RaiseException) unless these customers are still as they were."""
    return Step(
        CONFIRM,
        [texts(payers), uuids(payer.id for payer in payers.values()), bools(payer.byok for payer in payers.values())],
    )


def _payers(query: str, keys: Iterable[str]) -> dict[str, Payer]:
    with raw_cursor() as cursor:
        cursor.execute(query, [texts(sorted(set(keys)))])
        payers = {row[0]: Payer(row[1], row[2]) for row in cursor.fetchall()}
    if len(_remembered) + len(payers) > MOST_REMEMBERED:
        _remembered.clear()
    _remembered.update(payers)
    return payers
