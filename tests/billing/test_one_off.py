"""An invoice of an operator's own lines, beside any subscription."""

from decimal import Decimal

import pytest
import time_machine

from billing.editing import InvalidLine
from billing.finalizing import InvoiceAlreadyFinalized
from billing.models import Collection, Invoice
from billing.one_off import NotAOneOff, OneOff, discard_one_off, draft_one_off
from tests.billing.books import DEC_2, assert_books_balance, billed, lines_of
from tests.cast import NOON, a_plan, acme, subscribed

pytestmark = pytest.mark.django_db
SET_UP = OneOff("Set-up", 1, Decimal("250.00"))
LICENCES = OneOff("Licences", 3, Decimal("33.335"))
BODY = {"customer": "acme", "lines": [{"description": "Set-up", "unit_amount": "250"}]}


def test_a_one_off_is_a_draft_of_what_it_says_in_the_currency_of_the_customer() -> None:
    draft = draft_one_off(acme(), [SET_UP, LICENCES], now=NOON)
    assert (draft.status, draft.kind, draft.currency, draft.subscription) == ("draft", "one_off", "USD", None)
    assert lines_of(draft) == [("one_off", "", 25000), ("one_off", "", 10001)]
    assert draft.subtotal == 35001
    assert (draft.period_start, draft.period_end) == (NOON, NOON)


def test_a_one_off_is_finalized_at_once_where_that_is_wanted() -> None:
    invoice = draft_one_off(acme(), [SET_UP], now=NOON, finalize=True)
    assert (invoice.number, invoice.status, invoice.amount_due) == ("INV-000001", "finalized", 25000)
    assert Collection.objects.filter(invoice=invoice).exists()
    assert_books_balance()


def test_a_customer_may_have_many() -> None:
    for _ in range(3):
        draft_one_off(acme(), [SET_UP], now=NOON)
    assert Invoice.objects.filter(kind="one_off").count() == 3


def test_a_line_that_cannot_be_is_named_by_its_place() -> None:
    with pytest.raises(InvalidLine) as refused:
        draft_one_off(acme(), [SET_UP, OneOff("Nothing", 0, Decimal(1))], now=NOON)
    assert refused.value.errors == [("/lines/1/quantity", "at least 1")]
    assert not Invoice.objects.exists()


def test_a_draft_can_be_thrown_away() -> None:
    draft = draft_one_off(acme(), [SET_UP], now=NOON)
    discard_one_off(draft.pk)
    assert not Invoice.objects.exists()


def test_what_is_finalized_or_agreed_is_not_thrown_away(settings) -> None:
    with pytest.raises(InvoiceAlreadyFinalized):
        discard_one_off(draft_one_off(acme(), [SET_UP], now=NOON, finalize=True).pk)
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    (start,) = billed(NOON)
    with pytest.raises(NotAOneOff):
        discard_one_off(start.pk)
    assert Invoice.objects.count() == 2


# Over REST


def test_a_one_off_is_billed_over_rest(caller) -> None:
    acme()
    with time_machine.travel(DEC_2, tick=False):
        answer = caller("manage").post("/v1/invoices", BODY | {"finalize": True})
    made = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/v1/invoices/{made['id']}")
    assert (made["kind"], made["status"], made["amount_due"]) == ("one_off", "finalized", "250.00")
    assert (made["plan"], made["plan_version"], made["subscription"], made["period_index"]) == (None,) * 4
    (line,) = made["lines"]
    assert (line["quantity"], line["unit_amount"], line["amount"]) == (1, "250.00", "250.00")
    assert [i["id"] for i in caller("read").get("/v1/invoices?kind=one_off").json()["data"]] == [made["id"]]
    assert caller("read").get("/v1/invoices?kind=cycle").json()["data"] == []


def test_a_draft_is_thrown_away_over_rest(caller) -> None:
    acme()
    manage = caller("manage", "read")
    url = manage.post("/v1/invoices", BODY)["Location"]
    assert manage.delete(url).status_code == 204
    assert manage.get(url).status_code == 404
    finalized = manage.post("/v1/invoices", BODY | {"finalize": True})["Location"]
    assert manage.delete(finalized).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customer": "nobody"}, 404),
        ({"lines": []}, 400),
        ({"lines": [{"description": "", "unit_amount": "1"}]}, 400),
        ({"lines": [{"description": "x", "unit_amount": "-1"}]}, 400),
        ({"lines": [{"description": "x", "unit_amount": 1}]}, 400),
        ({"lines": [{"description": "x", "unit_amount": "1", "quantity": 0}]}, 400),
        ({"lines": [{"description": "x", "unit_amount": "999999999999", "quantity": 1_000_000_000}]}, 400),
    ],
)
def test_what_is_not_billed(caller, body: dict, status: int) -> None:
    acme()
    assert caller("manage").post("/v1/invoices", BODY | body).status_code == status
    assert not Invoice.objects.exists()


def test_one_offs_are_for_those_who_may_manage(caller, stranger_status) -> None:
    draft = draft_one_off(acme(), [SET_UP], now=NOON)
    assert stranger_status("/v1/invoices", post=True) == 401
    assert caller("read").post("/v1/invoices", BODY).status_code == 403
    assert caller("read").delete(f"/v1/invoices/{draft.pk}").status_code == 403
