"""How is background work woken?

Every piece of work is a row in PostgreSQL and is found by a sweep; a message only wakes the sweep sooner, and losing
all messages loses nothing. So tasks take ids, keep no result, and may run twice.
"""

import os
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit, urlunsplit

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

DEFAULT_DATABASE_URL = "postgresql://parley@localhost/parley"
VISIBILITY_TIMEOUT_S = 60  # a sweep works for seconds; what a killed worker had taken is handed out again after this
AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")

# name: {"task": the task's name, "schedule": seconds}. A lost message delays work by the period of its sweep at most.
BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "settle conversations": {"task": "metering.settle_due", "schedule": 5.0, "options": {"expires": 5}},
    "bill periods": {"task": "billing.bill_due", "schedule": 60.0, "options": {"expires": 60}},
    "take invoices to Stripe": {"task": "billing.collect_due", "schedule": 5.0, "options": {"expires": 5}},
    "top up credit": {"task": "billing.top_up_due", "schedule": 60.0, "options": {"expires": 60}},
    "expire credit": {"task": "billing.expire_grants", "schedule": 60.0, "options": {"expires": 60}},
    "read Stripe's webhooks": {"task": "billing.read_stripe_inbox", "schedule": 5.0, "options": {"expires": 5}},
    "forget old answers": {"task": "api.forget_old_answers", "schedule": 3_600.0},
    "sync supplier rates": {"task": "metering.sync_supplier_rates", "schedule": 86_400.0},
    "purge consumed messages": {"task": "config.purge_consumed_messages", "schedule": 600.0},
}


def broker_url() -> str:
    """CELERY_BROKER_URL, else the database itself."""
    named = os.environ.get("CELERY_BROKER_URL")
    return named or database_as_broker(os.environ.get("DATABASE_URL", DEFAULT_DATABASE_URL))


def database_as_broker(database_url: str) -> str:
    """The URL by which Celery reaches this database; SQLAlchemy wants a socket's directory in the query."""
    parts = urlsplit(database_url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    login, at, host = parts.netloc.rpartition("@")
    if "%2f" in host.lower():
        query["host"] = unquote(host)
        host = ""
    return urlunsplit(("sqla+postgresql+psycopg", f"{login}{at}{host}", parts.path, urlencode(query), ""))


def transport_options(url: str) -> dict[str, Any]:
    """Each transport refuses or misreads the options of the others."""
    scheme = url.partition(":")[0]
    if scheme in AMQP_SCHEMES:
        return {"confirm_publish": True}
    if scheme in ("redis", "rediss", "sentinel"):
        return {"visibility_timeout": VISIBILITY_TIMEOUT_S, "unacked_restore_throttle": 1}
    if scheme.startswith("sqla"):
        return {"pool_pre_ping": True, "pool_size": 2}
    return {}


def transport_settings(url: str) -> dict[str, Any]:
    """What Celery must know of a transport besides its options."""
    scheme = url.partition(":")[0]
    if scheme in AMQP_SCHEMES:
        return {"task_default_queue_type": "quorum"}  # outlives the loss of one of RabbitMQ's nodes
    if scheme.startswith("sqla"):
        return {"worker_enable_remote_control": False}  # needs broadcasts, which a table does not do
    return {}


app = Celery("parley")
app.conf.update(
    broker_url=broker_url(),
    broker_transport_options=transport_options(broker_url()),
    broker_connection_retry_on_startup=True,
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="parley",
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_schedule=BEAT_SCHEDULE,
    **transport_settings(broker_url()),
)
app.autodiscover_tasks()


@app.task(name="config.purge_consumed_messages")
def purge_consumed_messages() -> None:
    """Delete what the database has delivered as broker: Celery's transport hides it and never looks at it again."""
    from django.db import connection

    if "CELERY_BROKER_URL" not in os.environ:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM kombu_message WHERE NOT visible")
