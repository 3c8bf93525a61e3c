"""Which number does the next invoice or credit note get? One after the other under a prefix, none left out.

The sequence's row is locked from the giving to the commit: whoever comes second waits for the first to commit, or to
give the number back. So it is asked last, after the accounts.
"""

from collections.abc import Callable

from django.db import connection

from api.ids import uuid7

Numbers = Callable[[str, int], list[str]]
"""Gives so many numbers under a prefix."""

NEXT = """
INSERT INTO billing_invoicesequence AS given (prefix, last) VALUES (%s, %s)
ON CONFLICT (prefix) DO UPDATE SET last = given.last + EXCLUDED.last RETURNING last
"""


def next_number(prefix: str) -> str:
    """The next number under the prefix: "INV-000001". Inside the transaction that writes it down."""
    (number,) = next_numbers(prefix, 1)
    return number


def next_numbers(prefix: str, count: int) -> list[str]:
    """The next so many, for as many invoices; none where there are none, which locks nothing."""
    if not count:
        return []
    with connection.cursor() as cursor:
        cursor.execute(NEXT, [prefix, count])
        (last,) = cursor.fetchone()
    return [f"{prefix}{number:06d}" for number in range(last - count + 1, last + 1)]


def passing_numbers(prefix: str, count: int) -> list[str]:
    """Numbers for invoices that are taken back in a moment: they are no others', and nobody waits for them."""
    return [f"{prefix}{uuid7().hex[-12:]}" for _ in range(count)]
