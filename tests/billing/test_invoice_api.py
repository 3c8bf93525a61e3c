"""`/v1/invoices`: list, read, finalize, void, and the spreadsheets behind a bill."""

import csv
import io
import uuid
from decimal import Decimal

import pypdf
import pytest
import time_machine

from billing.models import Invoice, TaxRate
from billing.views.invoice_files import spreadsheet_safe
from metering.corrections import void_event
from tests.billing.books import DEC_2, GRACE, JAN_2, billed, conversation, conversations, happened
from tests.cast import FLAT_RATES, NOON, a_plan, acme, bolt, subscribed

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE


@pytest.fixture
def november() -> Invoice:
    """Acme's second invoice, of a base fee and two conversations."""
    subscribed(acme(), a_plan())
    happened(*conversations(2), now=NOON)
    return billed(DUE)[1]


@pytest.fixture
def draft(settings) -> Invoice:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    return billed(NOON)[0]


def rows_of(answer) -> list[list[str]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()
    assert text.endswith("\r\n")
    return list(csv.reader(io.StringIO(text)))


def test_an_invoice_shows_its_lines_and_what_is_to_be_paid(caller, november: Invoice) -> None:
    found = caller("read").get(f"/v1/invoices/{november.pk}").json()
    assert (found["number"], found["customer"], found["status"]) == ("INV-000002", "acme", "finalized")
    assert (found["plan"], found["plan_version"], found["kind"]) == ("growth", 1, "cycle")
    assert (found["subtotal"], found["total"], found["amount_due"]) == ("49.04", "49.04", "49.04")
    assert (found["prepaid_applied"], found["credit_applied"], found["amount_credited"]) == ("0.00",) * 3
    assert (found["reissue_of"], found["reissued_as"], found["void_reason"]) == (None, None, None)
    assert found["tax"] == {"name": None, "percent": None, "inclusive": False, "amount": "0.00"}
    assert found["period_index"] == 0
    assert (found["period_start"], found["period_end"]) == ("2026-11-02T12:00:00Z", "2026-12-02T12:00:00Z")
    base, simple = found["lines"]
    assert (base["kind"], base["amount"], base["unit_amount"], base["period_start"]) == (
        "base_fee",
        "49.00",
        "49.00",
        "2026-12-02T12:00:00Z",
    )
    assert (simple["tier"], simple["quantity"], simple["unit_amount"], simple["amount"]) == (
        "simple",
        2,
        "0.02",
        "0.04",
    )
    assert simple["details"]["overage"] == 2


def test_invoices_are_listed_newest_first_by_customer_and_status(caller, november: Invoice) -> None:
    subscribed(bolt(), a_plan("other"))
    billed(DUE)
    read = caller("read")
    listed = read.get("/v1/invoices").json()["data"]
    assert [invoice["customer"] for invoice in listed] == ["bolt", "bolt", "acme", "acme"]
    assert [i["number"] for i in read.get("/v1/invoices?customer=acme").json()["data"]] == ["INV-000002", "INV-000001"]
    assert read.get("/v1/invoices?status=void").json()["data"] == []
    assert read.get("/v1/invoices?status=lost").status_code == 400
    assert read.get("/v1/invoices?customer=nobody").status_code == 404


def test_a_long_list_comes_in_pages(caller, november: Invoice) -> None:
    read = caller("read")
    first = read.get("/v1/invoices?limit=1").json()
    second = read.get(first["next"]).json()
    assert [page["data"][0]["number"] for page in (first, second)] == ["INV-000002", "INV-000001"]
    assert second["next"] is None


def test_a_draft_is_finalized_once(caller, draft: Invoice) -> None:
    manage = caller("manage")
    with time_machine.travel(DUE, tick=False):
        answer = manage.post(f"/v1/invoices/{draft.pk}/finalize", {})
    assert (answer.status_code, answer.json()["number"], answer.json()["status"]) == (200, "INV-000001", "finalized")
    assert answer.json()["finalized_at"] == "2026-12-02T13:00:00Z"
    assert manage.post(f"/v1/invoices/{draft.pk}/finalize", {}).status_code == 409


def test_a_draft_has_no_number(caller, draft: Invoice) -> None:
    found = caller("read").get(f"/v1/invoices/{draft.pk}").json()
    assert (found["number"], found["status"], found["subtotal"]) == (None, "draft", "49.00")
    assert found["tax"] is None


def test_an_unpaid_invoice_is_voided_once(caller, november: Invoice) -> None:
    manage = caller("manage")
    with time_machine.travel(JAN_2, tick=False):
        answer = manage.post(f"/v1/invoices/{november.pk}/void", {})
    assert (answer.json()["status"], answer.json()["voided_at"]) == ("void", "2027-01-02T12:00:00Z")
    again = manage.post(f"/v1/invoices/{november.pk}/void", {})
    assert (again.status_code, again["Content-Type"]) == (409, "application/problem+json")


def test_a_repeated_void_with_its_idempotency_key_gets_the_first_answer(caller, november: Invoice) -> None:
    manage = caller("manage")
    answers = [manage.post(f"/v1/invoices/{november.pk}/void", {}, idempotency_key="v1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_the_tax_of_an_invoice_is_shown(caller, settings) -> None:
    settings.TAX = "fixed"
    TaxRate.objects.create(name="VAT", percent=Decimal("19"), starts_at=NOON, created_at=NOON)
    subscribed(acme(), a_plan())
    (start,) = billed(NOON)
    found = caller("read").get(f"/v1/invoices/{start.pk}").json()
    assert found["tax"] == {"name": "VAT", "percent": "19", "inclusive": False, "amount": "9.31"}
    assert (found["subtotal"], found["total"], found["amount_due"]) == ("49.00", "58.31", "58.31")


def test_a_draft_is_edited_line_by_line(caller, draft: Invoice) -> None:
    both = caller("manage", "read")
    url = f"/v1/invoices/{draft.pk}"
    added = both.post(f"{url}/lines", {"description": "Set-up", "unit_amount": "33.335", "quantity": 3})
    assert (added.status_code, added["Location"], added.json()["subtotal"]) == (201, url, "149.01")
    line = added.json()["lines"][1]
    assert (line["kind"], line["amount"], line["quantity"]) == ("one_off", "100.01", 3)
    body = {"description": "Sorry", "percent": "10", "line": line["id"]}
    discounted = both.post(f"{url}/discounts", body)
    assert (discounted.status_code, discounted.json()["subtotal"]) == (201, "139.01")
    discount = discounted.json()["lines"][2]
    assert discount["details"]["allocation"] == [{"line": line["id"], "amount": "-10.00"}]
    assert both.delete(f"{url}/lines/{line['id']}").status_code == 409
    assert both.delete(f"{url}/lines/{discount['id']}").status_code == 204
    assert both.delete(f"{url}/lines/{line['id']}").status_code == 204
    assert both.delete(f"{url}/lines/{line['id']}").status_code == 404
    assert both.get(url).json()["subtotal"] == "49.00"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"description": "x"}, 400),
        ({"description": "x", "percent": "0"}, 400),
        ({"description": "x", "percent": "10", "amount": "1.00"}, 400),
        ({"description": "x", "amount": "0.001"}, 400),
        ({"description": "", "percent": "10"}, 400),
        ({"description": "x", "percent": "10", "line": str(uuid.uuid4())}, 404),
    ],
)
def test_a_discount_that_cannot_be_is_refused(caller, draft: Invoice, body: dict, status: int) -> None:
    assert caller("manage").post(f"/v1/invoices/{draft.pk}/discounts", body).status_code == status


def test_a_finalized_invoice_is_not_edited(caller, november: Invoice) -> None:
    manage, url = caller("manage"), f"/v1/invoices/{november.pk}"
    line = november.lines.all()[0]
    assert manage.post(f"{url}/lines", {"description": "x", "unit_amount": "1"}).status_code == 409
    assert manage.post(f"{url}/discounts", {"description": "x", "percent": "1"}).status_code == 409
    assert manage.delete(f"{url}/lines/{line.pk}").status_code == 409


def test_drafts_are_edited_by_those_who_may_manage(caller, stranger_status, draft: Invoice) -> None:
    url = f"/v1/invoices/{draft.pk}"
    for path in ("lines", "discounts"):
        assert stranger_status(f"{url}/{path}", post=True) == 401
        assert caller("read").post(f"{url}/{path}", {}).status_code == 403
    assert caller("read").delete(f"{url}/lines/{draft.lines.all()[0].pk}").status_code == 403


def test_a_draft_is_not_voided(caller, draft: Invoice) -> None:
    assert caller("manage").post(f"/v1/invoices/{draft.pk}/void", {}).status_code == 409


@pytest.mark.parametrize("path", ["", "/lines.csv", "/conversations.csv", "/pdf"])
def test_invoices_are_for_those_who_may_read(caller, stranger_status, november: Invoice, path: str) -> None:
    url = f"/v1/invoices/{november.pk}{path}"
    assert stranger_status(url) == 401
    assert caller("ingest", "manage").get(url).status_code == 403
    assert caller("read").get(f"/v1/invoices/{uuid.uuid4()}{path}").status_code == 404
    assert caller("read").get(url).status_code == 200


@pytest.mark.parametrize("verb", ["finalize", "void"])
def test_invoices_change_for_those_who_may_manage(caller, stranger_status, november: Invoice, verb: str) -> None:
    url = f"/v1/invoices/{november.pk}/{verb}"
    assert stranger_status(url, post=True) == 401
    assert caller("read", "ingest").post(url, {}).status_code == 403
    assert caller("manage").post(f"/v1/invoices/{uuid.uuid4()}/{verb}", {}).status_code == 404
    assert Invoice.objects.get(pk=november.pk).status == "finalized"


def test_lines_as_a_spreadsheet(caller, november: Invoice) -> None:
    header, base, simple = rows_of(caller("read").get(f"/v1/invoices/{november.pk}/lines.csv"))
    assert header[:7] == ["kind", "tier", "description", "quantity", "unit_amount", "amount", "currency"]
    assert base[:2] == ["base_fee", ""]
    assert simple[:2] + simple[3:7] == ["usage", "simple", "2", "0.02", "0.04", "USD"]
    assert simple[7:] == ["2026-11-02T12:00:00+00:00", "2026-12-02T12:00:00+00:00"]


def test_a_negative_amount_stays_a_number(caller, november: Invoice) -> None:
    void_event(acme(), "c-simple-0-1", reason="test traffic", now=DUE)
    (december,) = billed(JAN_2 + GRACE)
    *_, adjustment = rows_of(caller("read").get(f"/v1/invoices/{december.pk}/lines.csv"))
    assert (adjustment[0], adjustment[5]) == ("adjustment", "-0.02")


def test_the_conversations_behind_an_invoice_as_a_spreadsheet(caller, november: Invoice) -> None:
    header, *rows = rows_of(caller("read").get(f"/v1/invoices/{november.pk}/conversations.csv"))
    assert header[:5] == ["conversation", "sitting", "tier", "turns", "tokens"]
    assert sorted(row[:5] for row in rows) == [
        ["c-simple-0", "1", "simple", "1", "1000"],
        ["c-simple-1", "1", "simple", "1", "1000"],
    ]


def test_the_spreadsheet_says_which_conversations_were_billable_and_when_they_settled(caller) -> None:
    office_hours = [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "14:00"}]
    flat = {"included": 0, "price": {"model": "flat", "unit": "0.02"}}
    rates = FLAT_RATES | {"simple": flat | {"peak": flat}}
    subscribed(acme(), a_plan(rates=rates, peak_hours=office_hours, billable_outcomes=["resolved"]))
    happened(
        conversation("solved", 1, outcome="resolved"),  # settles on Tuesday at 13:00
        conversation("evening", 6, outcome="resolved"),
        conversation("lost", 1, outcome="gave_up"),
        conversation("large", 1, tier="complex", outcome="resolved"),
        now=NOON,
    )
    cycle = next(invoice for invoice in billed(DUE) if invoice.kind == "cycle")
    header, *rows = rows_of(caller("read").get(f"/v1/invoices/{cycle.pk}/conversations.csv"))
    assert header[-3:] == ["outcome", "billable", "band"]
    assert sorted([row[0], *row[-3:]] for row in rows) == [
        ["evening", "resolved", "yes", "off_peak"],
        ["large", "resolved", "yes", ""],
        ["lost", "gave_up", "no", "peak"],
        ["solved", "resolved", "yes", "peak"],
    ]


def test_an_invoice_is_downloaded_as_pdf(caller, november: Invoice) -> None:
    answer = caller("read").get(f"/v1/invoices/{november.pk}/pdf")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert answer["Content-Disposition"] == 'inline; filename="INV-000002.pdf"'
    assert answer.content.startswith(b"%PDF-")
    assert "INV-000002" in pypdf.PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()


def test_a_start_invoice_has_no_conversations_behind_it(caller, november: Invoice) -> None:
    start = Invoice.objects.get(kind="start")
    assert len(rows_of(caller("read").get(f"/v1/invoices/{start.pk}/conversations.csv"))) == 1


HOSTILE = ['=HYPERLINK("http://evil")', "+1+1", "-2+3", "@SUM(A1)", '"=1', " =1", "'=1", "＝1+1", "a,b", 'say "hi"']


def test_a_reference_that_looks_like_a_formula_is_disarmed(caller) -> None:
    subscribed(acme(), a_plan())
    happened(*(conversation(reference) for reference in HOSTILE), now=NOON)
    november = billed(DUE)[1]
    _, *rows = rows_of(caller("read").get(f"/v1/invoices/{november.pk}/conversations.csv"))
    assert sorted(row[0] for row in rows) == sorted(
        [f"'{reference}" for reference in HOSTILE[:-2]] + ["a,b", 'say "hi"']
    )


@pytest.mark.parametrize("cell", ["\t=1", "\r=1", "\n=1", "\0=1", "-1-1", "--1", "=1"])
def test_whatever_a_spreadsheet_would_run_is_disarmed(cell: str) -> None:
    assert spreadsheet_safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1", "-0.02", "12", 12, -12, "chat-9", "", "a=b", None])
def test_what_is_harmless_stays_as_it_is(cell: object) -> None:
    assert spreadsheet_safe(cell) == cell
