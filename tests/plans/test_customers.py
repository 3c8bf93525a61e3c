"""Who is billed: the key and the currency are for good, the person can be forgotten."""

import pytest

from plans.customers import (
    CustomerExists,
    InvalidCustomer,
    StillSubscribed,
    change_customer,
    create_customer,
    erase_customer,
    find_customer,
)
from plans.models import Customer
from tests.cast import NOON, a_plan, acme, canceled, subscribed

pytestmark = pytest.mark.django_db


def test_a_key_belongs_to_one_customer_to_the_letter() -> None:
    acme()
    with pytest.raises(CustomerExists):
        create_customer(key="acme", currency="EUR", now=NOON)
    create_customer(key="Acme", currency="EUR", now=NOON)
    assert [find_customer(key).currency for key in ("acme", "Acme")] == ["USD", "EUR"]


@pytest.mark.parametrize(
    ("pointer", "fields"), [("/currency", {"currency": "XXQ"}), ("/timezone", {"timezone": "Mars/Olympus"})]
)
def test_a_currency_and_a_zone_have_to_exist(pointer: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidCustomer) as refused:
        acme(**fields)
    assert refused.value.errors[0][0] == pointer
    assert not Customer.objects.exists()


def test_contact_data_can_be_changed_and_a_wrong_zone_changes_nothing() -> None:
    change_customer(acme(), name="Acme AG", email="ap@acme.test", timezone="Europe/Zurich")
    with pytest.raises(InvalidCustomer):
        change_customer(acme(), name="Nobody", timezone="Nowhere")
    assert (acme().name, acme().timezone) == ("Acme AG", "Europe/Zurich")


def test_erasing_takes_the_person_away_and_leaves_the_books() -> None:
    customer = acme(email="ap@acme.test", tax_id="DE123")
    subscription = subscribed(customer, a_plan())
    ended = canceled(subscription, now=NOON).ends_at
    erase_customer(customer, now=ended)
    customer.refresh_from_db()
    assert (customer.name, customer.email, customer.tax_id, customer.erased_at) == ("", "", "", ended)
    assert "acme" not in customer.key
    subscription.refresh_from_db()
    assert subscription.customer_id == customer.id
    with pytest.raises(Customer.DoesNotExist):
        find_customer("acme")


def test_who_is_still_subscribed_is_not_erased() -> None:
    subscribed(acme(), a_plan())
    with pytest.raises(StillSubscribed):
        erase_customer(acme(), now=NOON)


def test_an_erased_customers_key_is_free_for_somebody_else() -> None:
    erase_customer(acme(), now=NOON)
    assert acme().erased_at is None
    assert Customer.objects.count() == 2
