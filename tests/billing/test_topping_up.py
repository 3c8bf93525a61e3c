"""When credit is bought without anybody asking, how much, and when it is not."""

import datetime as dt
from typing import Any

import pytest

from billing import topping_up, wallets
from billing.granting import void_grant
from billing.models import Grant, Invoice, InvoiceStatus, TopUpRule
from billing.topping_up import InvalidRule, available, remove_rule, set_rule, top_up_due
from plans.changing import cancel
from plans.customers import erase_customer
from plans.models import Customer
from tests.billing.books import DEC_2, GRACE, billed, conversations, happened
from tests.billing.purse import again, billed_once, bought, left, pay, prepaid, present, voided
from tests.billing.stripe_desk import Desk, open_desk, start_stripe, status_of  # noqa: F401
from tests.cast import NOON, a_plan, acme, bolt, cleo, subscribed

pytestmark = pytest.mark.django_db

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)


def a_rule(customer: Customer | None = None, **fields: Any) -> TopUpRule:
    """Below 20.00 up to 100.00, an hour apart."""
    agreed = {"below": 2_000, "up_to": 10_000, "cool_off": HOUR, "now": NOON} | fields
    return set_rule(customer or acme(), **agreed)


def topped_up(at: dt.datetime = NOON) -> list[int]:
    """What a sweep buys."""
    return [invoice.amount_due for invoice in top_up_due(as_of=at, now=at)]


# How much


def test_an_empty_wallet_is_filled_up() -> None:
    a_rule()
    assert topped_up() == [10_000]
    grant, invoice = Grant.objects.get(), Invoice.objects.get()
    assert (grant.automatic, grant.amount, grant.invoice, grant.usable_at) == (True, 10_000, invoice, None)
    assert (invoice.kind, invoice.status) == ("top_up", "finalized")
    assert [line.description for line in invoice.lines.all()] == ["Prepaid credit: Automatic top-up"]


def test_what_is_missing_is_bought_and_no_more() -> None:
    a_rule()
    present(1_000)
    prepaid(999)
    assert topped_up() == [8_001]


def test_nothing_is_bought_while_enough_is_there() -> None:
    a_rule()
    prepaid(2_000)
    assert topped_up() == []
    billed_once(1)
    assert topped_up() == [8_001]


def test_what_we_owe_the_customer_is_available_and_helps_to_pay() -> None:
    a_rule()
    grant = bought(1_900)
    pay(grant.invoice)
    void_grant(again(grant), now=NOON)
    assert available(acme(), at=NOON) == 1_900
    assert topped_up() == [8_100]
    pay(Invoice.objects.latest("id"))
    assert wallets.balance(acme(), at=NOON) == wallets.Balance(usable=10_000, lapsed=0, pending=0, credit=0)


def test_usage_that_is_not_invoiced_yet_is_not_available_any_more() -> None:
    a_rule()
    subscribed(acme(), a_plan(base_fee="0"))
    prepaid(3_000)
    happened(*conversations(30, tier="enterprise"), now=NOON)
    two_days_on = NOON + 2 * DAY
    assert (available(acme(), at=two_days_on), topped_up(two_days_on)) == (1_500, [8_500])


def test_usage_that_outruns_all_credit_is_bought_for_as_well() -> None:
    a_rule()
    subscribed(acme(), a_plan(base_fee="0"))
    happened(*conversations(30, tier="enterprise"), now=NOON)
    assert topped_up(NOON + 2 * DAY) == [11_500]


def test_usage_that_lapsed_credit_is_still_good_for_is_not_bought_for() -> None:
    a_rule()
    subscribed(acme(), a_plan(base_fee="0"))
    present(9_000, expires_at=NOON + DAY)
    prepaid(2_000)
    happened(*conversations(30, tier="enterprise"), now=NOON)
    assert available(acme(), at=NOON + 2 * DAY) == 2_000
    billed(DEC_2 + GRACE)
    assert available(acme(), at=DEC_2 + GRACE) == 2_000


def test_credit_that_is_not_valid_now_is_not_available() -> None:
    a_rule()
    prepaid(5_000, effective_at=NOON + DAY)
    prepaid(5_000, expires_at=NOON + DAY)
    assert [available(acme(), at=at) for at in (NOON, NOON + DAY)] == [5_000, 5_000]
    bought(5_000)
    assert available(acme(), at=NOON) == 5_000


def test_what_is_bought_can_be_paid_in_the_currency() -> None:
    a_rule(bolt(currency="ISK"), below=100, up_to=1_000)
    assert topped_up() == [1_000]
    assert topping_up._payable(901, "ISK") == 1_000


# How often


def test_one_purchase_is_open_at_a_time() -> None:
    a_rule()
    assert topped_up() == [10_000]
    assert topped_up(NOON + 9 * DAY) == []
    pay(Invoice.objects.get(), now=NOON + 9 * DAY)
    billed_once(9_000, now=NOON + 9 * DAY)
    assert topped_up(NOON + 9 * DAY) == [9_000]


@pytest.mark.parametrize("fate", [InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE])
def test_after_a_purchase_that_came_to_nothing_the_rule_rests(fate: str) -> None:
    a_rule()
    topped_up()
    invoice = Invoice.objects.get()
    if fate == InvoiceStatus.VOID:
        voided(invoice)
    else:
        Invoice.objects.filter(pk=invoice.pk).update(status=fate)
    assert topped_up(NOON + HOUR - dt.timedelta(microseconds=1)) == []
    assert topped_up(NOON + HOUR) == [10_000]


def test_two_purchases_are_a_cool_off_apart_even_if_the_first_is_paid_and_used() -> None:
    a_rule()
    topped_up()
    pay(Invoice.objects.get())
    billed_once(10_000)
    assert topped_up(NOON + HOUR / 2) == []
    assert topped_up(NOON + HOUR) == [10_000]


def test_a_manual_purchase_does_not_hold_the_rule_up() -> None:
    a_rule()
    bought(500)
    assert topped_up() == [10_000]


def test_setting_a_rule_anew_does_not_cut_its_rest_short() -> None:
    a_rule()
    topped_up()
    pay(Invoice.objects.get())
    a_rule(below=30_000, up_to=40_000, now=NOON + HOUR / 2)
    assert topped_up(NOON + HOUR / 2) == []
    assert topped_up(NOON + HOUR) == [30_000]


# For whom


def test_each_customer_has_its_own_rule_and_one_that_fails_does_not_keep_the_others() -> None:
    for customer in (acme(), bolt(), cleo()):
        a_rule(customer)
    prepaid(5_000, cleo())
    TopUpRule.objects.filter(customer=acme()).update(up_to=10**13)  # more than can be sold
    assert [invoice.customer for invoice in top_up_due(as_of=NOON, now=NOON)] == [bolt()]
    a_rule()
    assert [invoice.customer for invoice in top_up_due(as_of=NOON, now=NOON)] == [acme()]


def test_a_rule_that_is_removed_buys_nothing_and_leaves_what_is_bought() -> None:
    a_rule()
    topped_up()
    assert [remove_rule(acme()), remove_rule(acme())] == [True, False]
    pay(Invoice.objects.get())
    assert left(Grant.objects.get()) == 10_000
    assert topped_up(NOON + DAY) == []


def test_nothing_is_bought_for_a_customer_that_has_left() -> None:
    subscription = subscribed(acme(), a_plan(base_fee="0"))
    a_rule()
    cancel(subscription.pk, when="now", now=NOON + DAY)
    assert topped_up(NOON + DAY) == []


def test_nothing_is_bought_for_a_customer_that_is_erased() -> None:
    a_rule()
    erase_customer(acme(), now=NOON)
    assert topped_up() == []


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("/below", {"below": 0}),
    ("/below", {"below": -1}),
    ("/up_to", {"up_to": 2_000}),
    ("/up_to", {"up_to": 10**12 + 1}),
    ("/cool_off", {"cool_off": dt.timedelta(seconds=59)}),
    ("/cool_off", {"cool_off": dt.timedelta(days=367)}),
]


@pytest.mark.parametrize(("pointer", "fields"), REFUSED)
def test_a_rule_that_makes_no_sense_is_refused(pointer: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRule) as refusal:
        a_rule(**fields)
    assert [found for found, _ in refusal.value.errors] == [pointer]
    assert not TopUpRule.objects.exists()


# With a card


@pytest.fixture
def rule_of_a_desk(desk: Desk) -> Customer:
    customer = desk.acme_with_card()
    a_rule(customer, now=desk.now)
    return customer


def test_a_top_up_is_taken_from_the_card_and_usable_when_stripe_says_so(desk: Desk, rule_of_a_desk: Customer) -> None:
    (invoice,) = top_up_due(as_of=desk.now, now=desk.now)
    desk.collect()
    desk.deliver()
    assert (status_of(invoice), desk.charges_of(rule_of_a_desk)) == ("paid", [10_000])
    assert wallets.balance(rule_of_a_desk, at=desk.now) == wallets.Balance(10_000, 0, 0, 0)


def test_a_card_that_fails_is_not_charged_again_by_the_next_sweeps(desk: Desk) -> None:
    customer = acme()
    desk.put_card_on_file(customer, "pm_card_chargeCustomerFail")
    a_rule(customer, now=desk.now)
    for _ in range(4):
        top_up_due(as_of=desk.now, now=desk.now)
        desk.collect()
        desk.deliver()
        desk.pass_time(hours=2)
    assert [invoice.status for invoice in Invoice.objects.filter(kind="top_up")] == ["finalized"]
    assert wallets.balance(customer, at=desk.now).usable == 0
