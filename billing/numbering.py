"""Which number does the next invoice or credit note get? One after the other under a prefix, none left out.

The sequence's row is locked from the giving to the commit: whoever comes second waits for the first to commit, or to
give the number back. So it is asked last, after the accounts.
"""

from django.db import connection

NEXT = """
INSERT INTO billing_invoicesequence AS given (prefix, last) VALUES (%s, 1)
ON CONFLICT (prefix) DO UPDATE SET last = given.last + 1 RETURNING last
"""


def next_number(prefix: str) -> str:
    """The next number under the prefix: "INV-000001". Inside the transaction that writes it down."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT, [prefix])
        return f"{prefix}{cursor.fetchone()[0]:06d}"
