"""How does a test live through many stories, one after the other? Each is taken back."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction


@contextmanager
def undone() -> Iterator[None]:
    """What happens in here never happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
