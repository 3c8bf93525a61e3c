"""Who sits at the desk in these tests, and what has been billed: Acme's only conversation, on one invoice."""

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.test import Client

from billing.billing import bill
from billing.models import Invoice
from metering.supplier_rates import forget_book
from tests.cast import LATER, a_plan, acme, at, report, send, settled, subscribed

SECOND_MONTH = 24 * 32


@pytest.fixture(autouse=True)
def no_remembered_rates():
    forget_book()
    yield
    forget_book()


def sign_in(**fields) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create(username="somebody", **fields))
    return client


@pytest.fixture
def desk(db) -> Client:
    """An operator who may do whatever can be done here."""
    return sign_in(is_staff=True, is_superuser=True)


@pytest.fixture
def looker(db) -> Client:
    """Staff without any further permission."""
    return sign_in(is_staff=True)


@pytest.fixture
def passer_by(db) -> Client:
    """A user who is no staff."""
    return sign_in()


@pytest.fixture
def now() -> dt.datetime:
    """The console reads the clock: what is to be running or to come is so around this."""
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def talked(db):
    """Five turns of Acme's, of which the fourth reached the limit of the simple tier."""
    acme()
    send([report(f"e{turn}", turn / 10, turn=turn) for turn in range(1, 6)])
    settled(LATER)


@pytest.fixture
def invoice(db) -> Invoice:
    """Acme's first month, billed, with five turns of one conversation."""
    subscribed(acme(), a_plan())
    send([report(f"e{turn}", turn / 10, turn=turn) for turn in range(1, 6)])
    bill(as_of=at(SECOND_MONTH), now=at(SECOND_MONTH))
    return Invoice.objects.get(kind="cycle")
