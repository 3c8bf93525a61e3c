"""Was this POST already answered? The same Idempotency-Key gets the stored answer, and the work is done once.

Only success is stored. A refusal wrote nothing (its transaction is rolled back, this record with it), so that the
same key may be tried again after what stood in the way is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import transaction

from api.ids import uuid7
from api.models import ApiKey, IdempotentAnswer
from api.problems import conflict

KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Rendered:
    """An answer as it goes over the wire, and whether it is a stored one."""

    status: int
    body: bytes
    location: str = ""
    replayed: bool = False


def answer_once(
    work: Callable[[], Rendered], *, api_key: ApiKey, key: str, method_and_path: str, body: bytes, now: datetime
) -> Rendered:
    """The answer of `work`, run at most once per (api_key, key); raises Problem 409 when the request is another one.

    Must be called inside the transaction in which `work` writes.
    """
    digest = sha256(method_and_path.encode() + b"\n" + body).digest()
    row = IdempotentAnswer(
        id=uuid7(),
        api_key=api_key,
        key=key,
        method_and_path=method_and_path,
        request_sha256=digest,
        created_at=now,
    )
    # Waits here while another request with this key is at work; finds nothing to do if that one was committed.
    stored = None
    while stored is None:  # a second time only if the old answer was forgotten in between
        IdempotentAnswer.objects.bulk_create([row], ignore_conflicts=True)
        stored = IdempotentAnswer.objects.filter(api_key=api_key, key=key).first()
    if stored.id != row.id:
        return _replay(stored, digest)
    answer = work()
    IdempotentAnswer.objects.filter(pk=row.pk).update(status=answer.status, body=answer.body, location=answer.location)
    return answer


def _replay(stored: IdempotentAnswer, digest: bytes) -> Rendered:
    if bytes(stored.request_sha256) != digest:
        raise conflict("This Idempotency-Key was used for another request.")
    assert stored.status is not None
    return Rendered(stored.status, bytes(stored.body), stored.location, replayed=True)


def forget_old_answers(*, now: datetime) -> int:
    """Deletes the answers that have been kept long enough; returns how many."""
    with transaction.atomic():
        deleted, _ = IdempotentAnswer.objects.filter(created_at__lt=now - KEPT_FOR).delete()
    return deleted
