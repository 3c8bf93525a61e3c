"""What is on a customer's accounts, and how is it kept while money is moved?

A customer has one plain account of each kind in a currency, and one for each of its grants. Whoever moves a customer's
money locks its receivable account in that currency first; it stands for all of them, so that nobody else moves the
customer's money until the transaction ends. Of several customers they are locked in the order of their ids: two
transactions queue before the first lock and cannot deadlock, whatever they move. Rows that are locked besides come
before them (invoices, rules) or after (grants).
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from django.db import connection

from billing.models import Account, AccountKind, Grant

Side = AccountKind | Grant
"""An account of a customer: the plain one of a kind, or that of a grant."""
Owner = tuple[uuid.UUID, str]
"""The id of a customer, and a currency."""

PLAIN_KINDS: Final = tuple(kind for kind in AccountKind if kind != AccountKind.GRANT)
# The first condition is for the index, which does not help with the second.
OF_THESE_OWNERS = """grant_id IS NULL AND customer_id = ANY(%(customers)s::uuid[])
    AND (customer_id, currency) IN (SELECT * FROM unnest(%(customers)s::uuid[], %(currencies)s::text[]))"""
LOCK = f"SELECT id FROM billing_account WHERE kind = 'receivable' AND {OF_THESE_OWNERS} ORDER BY id FOR UPDATE"
# Only read once the lock is held: one statement would show what was there before it waited.
READ_PLAIN = f"SELECT customer_id, currency, kind, id, debits, credits FROM billing_account WHERE {OF_THESE_OWNERS}"
READ_OF_GRANTS = "SELECT grant_id, id, debits, credits FROM billing_account WHERE grant_id = ANY(%s)"
GROW = """
UPDATE billing_account account SET debits = account.debits + more.debits, credits = account.credits + more.credits
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS more (id, debits, credits) WHERE account.id = more.id"""


class Balance(msgspec.Struct):
    """An account by its id, with all that was ever debited and credited; minor units."""

    id: int
    debits: int
    credits: int


class Accounts:
    """The accounts of some customers, kept until the transaction ends; what is moved is written by `write`."""

    def __init__(self, owners: Iterable[Owner]) -> None:
        """Lock the plain accounts of these owners, after opening those that are missing."""
        self._plain: dict[Owner, dict[str, Balance]] = {}
        self._of_grants: dict[uuid.UUID, Balance] = {}
        self._more: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        wanted = list(dict.fromkeys(owners))
        if len(_lock(wanted)) < len(wanted) or not self._read(wanted):
            _open_missing(wanted)
            _lock(wanted)
            self._read(wanted)

    def _read(self, owners: Sequence[Owner]) -> bool:
        """Whether all that there are to be are there."""
        self._plain = {owner: {} for owner in owners}
        with connection.cursor() as cursor:
            cursor.execute(READ_PLAIN, _columns(owners))
            for customer_id, currency, kind, *balance in cursor.fetchall():
                self._plain[customer_id, currency][kind] = Balance(*balance)
        return all(len(kinds) == len(PLAIN_KINDS) for kinds in self._plain.values())

    def read_grants(self, grants: Iterable[Grant]) -> None:
        """Read the accounts of grants of these customers too; without it, those of no grant are known."""
        wanted = [grant.pk for grant in grants]
        if not wanted:
            return
        with connection.cursor() as cursor:
            cursor.execute(READ_OF_GRANTS, [wanted])
            self._of_grants |= {grant_id: Balance(*balance) for grant_id, *balance in cursor.fetchall()}

    def of(self, owner: Owner, side: Side) -> Balance:
        """One of the accounts, as it is with all that was moved so far."""
        return self._of_grants[side.pk] if isinstance(side, Grant) else self._plain[owner][side]

    def move(self, amount: int, *, debit: Balance, credit: Balance) -> None:
        """Debit one account and credit another with so many minor units."""
        debit.debits += amount
        credit.credits += amount
        self._more[debit.id][0] += amount
        self._more[credit.id][1] += amount

    def write(self) -> None:
        """Write what was moved. The database refuses overdrafts (IntegrityError)."""
        ids = sorted(self._more)
        with connection.cursor() as cursor:
            cursor.execute(GROW, [ids, *([self._more[pk][side] for pk in ids] for side in (0, 1))])
        self._more.clear()


def _lock(owners: Sequence[Owner]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, _columns(owners))
        return [pk for (pk,) in cursor.fetchall()]


def _open_missing(owners: Sequence[Owner]) -> None:
    Account.objects.bulk_create(
        [
            Account(customer_id=customer_id, kind=kind, currency=currency)
            for customer_id, currency in sorted(owners)
            for kind in PLAIN_KINDS
        ],
        ignore_conflicts=True,
    )


def _columns(owners: Sequence[Owner]) -> dict[str, list[object]]:
    return {
        "customers": [customer_id for customer_id, _ in owners],
        "currencies": [currency for _, currency in owners],
    }
