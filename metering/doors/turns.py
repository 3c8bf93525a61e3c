"""How do requests that may tell of one thing come one after the other? Each waits for its turn, and then looks.

Which call a span repeats, or which source was first with an id, is decided by what is stored; of two requests that
looked before either had stored anything, neither would know of the other. The locks are advisory and last as long as
the transaction. They come before every other (metering.usage_lock says in which order those come), all at once and in
one order: nobody who holds anything else waits for a turn.
"""

from collections.abc import Iterable
from zlib import crc32

from django.db import connection

TRACES, SOURCES = 7042, 7043
"""First halves of the advisory lock keys, by what takes turns; the second half is a slot."""
SLOTS = 256
"""As with the usage lock: waiting now and then for a stranger is better than filling the server's lock table."""
LOCK = "SELECT pg_advisory_xact_lock(%s, slot) FROM unnest(%s::int[]) slot"


def take_turn(whose: int, names: Iterable[str]) -> None:
    """Wait for the transactions that have one of these names, and keep others out until this one ends."""
    slots = sorted({crc32(name.encode()) % SLOTS for name in names})
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [whose, slots])
