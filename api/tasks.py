"""Which sweep of the API does Celery wake?"""

from celery import shared_task
from django.utils import timezone

from api.idempotency import forget_old_answers


@shared_task(name="api.forget_old_answers")
def forget_answers() -> None:
    """Delete answers to Idempotency-Keys that have been kept long enough."""
    forget_old_answers(now=timezone.now())
