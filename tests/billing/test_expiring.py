"""When credit expires, and when it still has a period to pay."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection

from billing.billing import bill
from billing.expiring import expire_grants
from billing.finalizing import finalize_invoice
from billing.granting import void_grant
from billing.models import Invoice
from plans.changing import cancel
from plans.subscribing import subscribe
from tests.billing.books import DEC_2, GRACE, JAN_2, balance, billed, conversations, happened
from tests.billing.purse import (
    again,
    billed_once,
    bought,
    drafted,
    drawn,
    left,
    pay,
    prepaid,
    present,
    state,
    used,
    voided,
)
from tests.cast import NOON, a_plan, acme, bolt, subscribed

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def expired(as_of: dt.datetime) -> int:
    return expire_grants(as_of=as_of, now=as_of)


def test_credit_expires_at_its_instant_and_not_before() -> None:
    grant = prepaid(500, expires_at=NOON + DAY)
    assert expired(NOON + DAY - dt.timedelta(microseconds=1)) == 0
    assert (expired(NOON + DAY), expired(NOON + DAY)) == (1, 0)
    assert (left(grant), used(grant), state(grant, now=NOON + DAY)) == (0, 0, "expired")
    assert again(grant).expired_at == NOON + DAY


def test_credit_without_an_end_does_not_expire() -> None:
    grant = prepaid(500)
    assert expired(NOON + 9_999 * DAY) == 0
    assert left(grant) == 500


def test_expired_prepaid_credit_is_kept_and_an_expired_present_is_forgotten() -> None:
    prepaid(500, expires_at=NOON + DAY)
    present(300, expires_at=NOON + DAY)
    billed_once(100)
    assert expired(NOON + DAY) == 2
    assert (balance(acme(), "breakage"), balance(acme(), "promotion"), balance(acme(), "revenue")) == (-500, 0, 0)


def test_credit_that_is_used_up_has_nothing_to_expire() -> None:
    grant = prepaid(500, expires_at=NOON + DAY)
    billed_once(500)
    assert expired(NOON + DAY) == 0
    assert state(grant, now=NOON + DAY) == "used"


def test_credit_that_is_paid_for_after_it_has_expired_is_owed_to_the_customer() -> None:
    grant = bought(500, expires_at=NOON + DAY)
    pay(grant.invoice, now=NOON + 2 * DAY)
    assert expired(NOON + 2 * DAY) == 1
    assert (left(grant), balance(acme(), "credit"), balance(acme(), "breakage")) == (0, -500, 0)


def test_credit_that_is_not_paid_for_does_not_expire() -> None:
    grant = bought(500, expires_at=NOON + DAY)
    assert expired(NOON + 2 * DAY) == 0
    assert state(grant, now=NOON + 2 * DAY) == "pending"


# What it waits for


def test_credit_outlives_its_end_until_the_period_is_invoiced_that_it_is_to_pay() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    grant = present(1_000, expires_at=NOON + DAY)
    happened(*conversations(4, NOON + 9 * DAY, tier="enterprise"), now=NOON + 9 * DAY)
    assert expired(DEC_2 + GRACE - DAY) == 0
    assert state(grant, now=NOON + DAY) == "expired"
    (invoice,) = billed(DEC_2 + GRACE)
    assert drawn(invoice) == {"Welcome": 200}
    assert expired(DEC_2 + GRACE) == 1
    assert (left(grant), used(grant)) == (0, 200)


def test_credit_does_not_wait_for_a_period_that_began_when_it_was_over() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    present(500, expires_at=DEC_2)
    billed(DEC_2 + GRACE)
    assert expired(DEC_2 + GRACE) == 1


def test_credit_waits_for_a_subscription_that_nobody_has_begun_to_bill() -> None:
    subscribed(acme(), a_plan())
    present(500, expires_at=NOON + DAY)
    assert expired(NOON + 2 * DAY) == 0


def test_credit_does_not_wait_for_the_subscription_of_somebody_else_or_of_later() -> None:
    plan = a_plan()
    subscribed(bolt(), plan)
    subscribe(acme(), plan, version=None, starts_at=NOON + DAY, now=NOON)
    present(500, expires_at=NOON + DAY)
    assert expired(NOON + 2 * DAY) == 1


def test_credit_does_not_wait_for_a_subscription_that_has_ended_and_is_billed() -> None:
    subscription = subscribed(acme(), a_plan(base_fee="0"))
    cancel(subscription.pk, when="period_end", now=NOON)
    present(500, expires_at=DEC_2 + DAY)
    assert expired(DEC_2 + DAY) == 0
    billed(DEC_2 + DAY)
    assert expired(DEC_2 + DAY) == 1


def test_credit_does_not_wait_for_a_subscription_that_was_withdrawn() -> None:
    subscription = subscribe(acme(), a_plan(), version=None, starts_at=NOON + DAY, now=NOON)
    cancel(subscription.pk, when="now", now=NOON)
    present(500, expires_at=NOON + 2 * DAY)
    assert expired(NOON + 2 * DAY) == 1


def test_credit_waits_for_a_draft_from_before_it_expired() -> None:
    draft = drafted(200)
    grant = prepaid(500, expires_at=NOON + DAY)
    assert expired(NOON + 2 * DAY) == 0
    assert drawn(finalize_invoice(draft.pk, now=NOON + 2 * DAY)) == {"Prepaid": 200}
    assert expired(NOON + 2 * DAY) == 1
    assert (left(grant), used(grant)) == (0, 200)


def test_credit_does_not_wait_for_a_draft_that_it_cannot_pay() -> None:
    prepaid(500, expires_at=NOON + DAY)
    drafted(200, now=NOON + DAY)
    drafted(200, bolt())
    assert expired(NOON + 2 * DAY) == 1


def test_credit_waits_for_a_draft_of_a_period_to_come_that_was_made_before_it_expired(settings: Any) -> None:
    settings.HOLD_DRAFTS = True
    subscribe(acme(), a_plan(), version=None, starts_at=NOON + 3 * DAY, now=NOON)
    grant = present(500, expires_at=NOON + DAY)
    bill(as_of=NOON + 3 * DAY, now=NOON)
    assert expired(NOON + 2 * DAY) == 0
    finalize_invoice(Invoice.objects.get().pk, now=NOON + 4 * DAY)
    assert used(grant) == 500


def test_a_held_draft_of_a_period_keeps_the_credit_that_is_to_pay_it(settings: Any) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan(base_fee="0"))
    present(1_000, expires_at=DEC_2 - DAY)
    happened(*conversations(4, tier="enterprise"), now=NOON)
    (draft,) = billed(DEC_2 + GRACE)
    assert expired(JAN_2) == 0
    assert drawn(finalize_invoice(draft.pk, now=JAN_2)) == {"Welcome": 200}
    assert expired(JAN_2) == 1


# What comes back


def test_what_a_voided_invoice_gives_back_to_expired_credit_expires_too() -> None:
    grant = prepaid(500, expires_at=NOON + DAY)
    invoice = billed_once(800)
    expired(NOON + DAY)
    voided(invoice, now=NOON + 2 * DAY)
    assert (left(grant), expired(NOON + 2 * DAY), left(grant), used(grant)) == (500, 1, 0, 0)
    assert balance(acme(), "breakage") == -500


def test_what_comes_back_to_a_void_grant_is_taken_back_like_the_rest() -> None:
    grant = present(500)
    invoice = billed_once(800)
    void_grant(grant, now=NOON)
    voided(invoice)
    assert (left(grant), expired(NOON), left(grant)) == (500, 1, 0)
    assert (balance(acme(), "promotion"), state(grant)) == (0, "void")


def test_what_comes_back_to_a_void_grant_pays_nothing_until_it_is_taken_back() -> None:
    grant = present(500)
    invoice = billed_once(800)
    void_grant(grant, now=NOON)
    voided(invoice)
    assert drawn(billed_once(100)) == {}


REFUSE = """
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON billing_transfer FOR EACH ROW WHEN (NEW.amount = 100)
    EXECUTE FUNCTION pg_temp.refuse()
"""


def test_a_grant_that_cannot_expire_does_not_keep_the_others() -> None:
    grants = [present(100, expires_at=NOON + DAY), present(200, bolt(), expires_at=NOON + DAY)]
    with connection.cursor() as cursor:
        cursor.execute(REFUSE)
    assert expired(NOON + DAY) == 1
    assert [left(grant) for grant in grants] == [100, 0]
    assert again(grants[0]).expired_at is None
