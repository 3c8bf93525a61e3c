"""`/v1/credit-notes`: what is said there is what happens, once."""

from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from billing.credit_notes import credit_note
from billing.models import CreditNote, Invoice
from tests.billing.drafts import a_draft, a_paid_invoice, an_invoice, vat
from tests.cast import NOON, acme, bolt

pytestmark = pytest.mark.django_db

URL = "/v1/credit-notes"


@pytest.fixture
def invoice(settings: Settings) -> Invoice:
    """Two lines, 10.00 and 5.00, with a fifth of tax, paid."""
    settings.TAX = "fixed"
    vat()
    return a_paid_invoice(1000, 500)


def asked(invoice: Invoice, **said: Any) -> dict[str, Any]:
    return {"invoice": str(invoice.pk), "reason": "was wrong"} | said


def test_a_note_says_what_it_takes_back_and_where_it_goes(caller: Any, invoice: Invoice) -> None:
    first, second = invoice.lines.all()
    answer = caller("manage").post(URL, asked(invoice, lines=[{"line": str(second.pk), "amount": "2.50"}]))
    note = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"{URL}/{note['id']}")
    assert {name: note[name] for name in ("number", "customer", "invoice_number", "currency", "reason")} == {
        "number": "CN-000001",
        "customer": "acme",
        "invoice_number": "INV-000001",
        "currency": "USD",
        "reason": "was wrong",
    }
    assert (note["net"], note["tax"], note["total"]) == ("2.50", "0.50", "3.00")
    assert (note["off_due"], note["refunded"], note["credited"], note["refund"]) == ("0.00", "0.00", "3.00", None)
    assert note["lines"] == [
        {"line": str(second.pk), "position": 1, "description": "Line 1", "amount": "2.50", "tax": "0.50"}
    ]
    assert caller("read").get(answer["Location"]).json() == note


def test_lines_are_named_by_their_place_too(caller: Any, invoice: Invoice) -> None:
    note = caller().post(URL, asked(invoice, lines=[{"line": 0, "amount": "1"}, {"line": 1, "amount": "2"}])).json()
    assert [(line["position"], line["amount"]) for line in note["lines"]] == [(0, "1.00"), (1, "2.00")]


def test_an_amount_is_spread_over_the_lines_and_nothing_said_means_all(caller: Any, invoice: Invoice) -> None:
    assert caller().post(URL, asked(invoice, amount="3.00")).json()["total"] == "3.60"
    assert caller().post(URL, asked(invoice)).json()["total"] == "14.40"
    assert caller().post(URL, asked(invoice)).status_code == 409


def test_a_refund_is_on_its_way(caller: Any, invoice: Invoice) -> None:
    note = caller().post(URL, asked(invoice, refund=True)).json()
    assert (note["refunded"], note["refund"]) == ("18.00", {"id": None, "status": "pending", "error": None})


def test_a_refund_that_failed_says_why(caller: Any, invoice: Invoice) -> None:
    note = credit_note(invoice, reason="x", to="refund", now=NOON)
    CreditNote.objects.update(refund_id="re_1", refund_status="failed", last_error="the card is gone")
    refund = caller().get(f"{URL}/{note.pk}").json()["refund"]
    assert refund == {"id": "re_1", "status": "failed", "error": "the card is gone"}


def test_a_preview_is_what_the_note_would_be(caller: Any, invoice: Invoice) -> None:
    seen = caller().post(URL, asked(invoice, amount="3.33", preview=True))
    assert (seen.status_code, seen.json()["number"], seen.has_header("Location")) == (200, None, False)
    assert not CreditNote.objects.exists()
    note = caller().post(URL, asked(invoice, amount="3.33")).json()
    differs = {name for name in note if note[name] != seen.json()[name]}
    assert differs == {"id", "number", "created_at"}


def test_the_same_request_again_gives_the_same_note(caller: Any, invoice: Invoice) -> None:
    client = caller()
    answers = [client.post(URL, asked(invoice, amount="3.33"), idempotency_key="once") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert CreditNote.objects.count() == 1
    assert client.post(URL, asked(invoice, amount="3.34"), idempotency_key="once").status_code == 409


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"lines": [{"line": 0, "amount": "10.01"}]}, "/lines/0/amount"),
        ({"lines": [{"line": 0, "amount": "1"}, {"line": 2, "amount": "1"}]}, "/lines/1/line"),
        ({"lines": [{"line": str(uuid4()), "amount": "1"}]}, "/lines/0/line"),
        ({"lines": [{"line": 0, "amount": "1"}, {"line": 0, "amount": "1"}]}, "/lines"),
        ({"lines": [{"line": 0, "amount": "0.001"}]}, "/lines/0/amount"),
        ({"lines": [{"line": 0, "amount": "1"}], "amount": "1"}, "/amount"),
        ({"lines": []}, "/lines"),
        ({"amount": "0"}, "/amount"),
        ({"amount": "15.01"}, "/amount"),
        ({"amount": 5}, "/amount"),
        ({"reason": ""}, "/reason"),
        ({"to": "refund"}, "/to"),
    ],
)
def test_what_cannot_be_taken_back_is_refused(
    caller: Any, invoice: Invoice, said: dict[str, Any], pointer: str
) -> None:
    answer = caller().post(URL, asked(invoice, **said))
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (400, [pointer])
    assert not CreditNote.objects.exists()


def test_a_draft_cannot_be_credited(caller: Any) -> None:
    answer = caller().post(URL, asked(a_draft(1000)))
    assert (answer.status_code, answer.json()["detail"].endswith("is draft")) == (409, True)


def test_an_invoice_nobody_knows_is_not_found(caller: Any, invoice: Invoice) -> None:
    assert caller().post(URL, asked(invoice) | {"invoice": str(uuid4())}).status_code == 404
    assert caller().get(f"{URL}/{uuid4()}").status_code == 404


def test_notes_are_listed_by_customer_and_invoice(caller: Any) -> None:
    acmes, bolts = an_invoice(1000, customer=acme()), an_invoice(1000, customer=bolt())
    notes = [credit_note(one, reason="x", amount=1, now=NOON) for one in (acmes, acmes, bolts)]
    client = caller("read")

    def listed(query: str) -> list[str]:
        return [note["id"] for note in client.get(f"{URL}?{query}").json()["data"]]

    ids = [str(note.pk) for note in notes]
    assert listed("") == ids[::-1]
    assert listed("customer=acme") == listed(f"invoice={acmes.pk}") == [ids[1], ids[0]]
    assert listed(f"customer=acme&invoice={bolts.pk}") == []
    assert client.get(f"{URL}?customer=nobody").status_code == 404


def test_the_invoice_tells_what_was_taken_back(caller: Any, invoice: Invoice) -> None:
    caller().post(URL, asked(invoice, amount="3"))
    told = caller().get(f"/v1/invoices/{invoice.pk}").json()
    assert (told["amount_credited"], told["total"], told["tax"]["amount"]) == ("3.60", "18.00", "3.00")


def test_only_who_may_manage_takes_anything_back(caller: Any, invoice: Invoice, stranger_status: Any) -> None:
    assert stranger_status(URL) == stranger_status(URL, post=True) == 401
    assert caller("read").post(URL, asked(invoice)).status_code == 403
    assert caller("ingest").get(URL).status_code == 403
