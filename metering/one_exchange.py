"""How do a few statements become one commit in one exchange with the database?

For the path of every event: sent together (api.exchanging), they are a transaction of their own.
"""

from collections.abc import Sequence

from django.db import connection

from api.exchanging import Step, exchange
from api.prepared import ConnectionLost


def commit_in_one_exchange(steps: Sequence[Step]) -> None:
    """Run statements in a transaction of their own, on Django's connection, which must not be in one; answers go.

    Raises what Django raises for it (DatabaseError with the driver's error as its cause); then nothing is stored.
    """
    if connection.in_atomic_block:
        raise RuntimeError("what is committed at once cannot be a part of something larger")
    connection.ensure_connection()
    with connection.wrap_database_errors:
        try:
            failure = exchange(connection.connection, steps).failure
        except BaseException:
            connection.close()  # nobody knows what it is in the middle of
            raise
        if isinstance(failure, ConnectionLost):
            connection.close()
        if failure is not None:
            raise failure
