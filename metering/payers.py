"""Whose usage is it? The customers behind the keys of a batch.

A process remembers those it has seen. What it remembers may be out of date, and is only good for a transaction that
has the database confirm it.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from api.exchanging import Statement, Step
from metering.packed_arrays import bools, raw_cursor, texts, uuids
from metering.usage_lock import share_usage_lock, take_usage_lock


class Payer(NamedTuple):
    """The customer an event belongs to."""

    id: uuid.UUID
    byok: bool


FIND = "SELECT key, id, byok FROM plans_customer WHERE key = ANY(%s::text[]) AND erased_at IS NULL"
CONFIRM = Statement("SELECT metering_confirm_payers($1::text[], $2::uuid[], $3::bool[])")
MOST_REMEMBERED = 50_000

_remembered: dict[str, Payer] = {}


def find_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys."""
    with raw_cursor() as cursor:
        cursor.execute(FIND, [texts(sorted(set(keys)))])
        payers = {key: Payer(customer_id, byok) for key, customer_id, byok in cursor.fetchall()}
    _remembered.update(payers)
    if len(_remembered) > MOST_REMEMBERED:
        _remembered.clear()
    return payers


def share_payers(keys: Collection[str]) -> dict[str, Payer]:
    """The customers among these keys, with their usage lock shared until the transaction ends."""
    return _locked(keys, share_usage_lock)


def take_payers(keys: Collection[str]) -> dict[str, Payer]:
    """The same with the lock held alone."""
    return _locked(keys, lambda customer_ids: take_usage_lock(*customer_ids))


def _locked(keys: Collection[str], lock: Callable[[Iterable[uuid.UUID]], None]) -> dict[str, Payer]:
    """Who they are once the lock is held: while it was waited for, one may have been erased, and another created."""
    before = find_payers(keys)
    while True:
        lock(payer.id for payer in before.values())
        now = find_payers(keys)
        if now == before:
            return now
        before = now


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
