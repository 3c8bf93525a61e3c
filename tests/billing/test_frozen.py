"""Nothing finalized changes, against raw SQL too."""

import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from billing.finalizing import finalize_invoice, void_invoice
from billing.models import Invoice
from tests.billing.books import DEC_2, GRACE, billed, conversation, frozen_rows, happened
from tests.cast import NOON, a_plan, acme, bolt, subscribed

pytestmark = pytest.mark.django_db

START = "(SELECT id FROM billing_invoice WHERE kind = 'start' AND status <> 'draft')"
OF_START = f"WHERE invoice_id = {START}"
DRAFT = "(SELECT id FROM billing_invoice WHERE status = 'draft')"

REFUSED = {
    "invoice": [
        "UPDATE billing_invoice SET total = total - 1, amount_due = amount_due - 1 WHERE status = 'finalized'",
        "UPDATE billing_invoice SET number = 'INV-000009' WHERE status = 'finalized'",
        "UPDATE billing_invoice SET period_end = now() WHERE status = 'finalized'",
        "UPDATE billing_invoice SET status = 'draft' WHERE status = 'finalized'",
        "UPDATE billing_invoice SET status = 'paid', amount_due = 0, credit_applied = total WHERE status = 'finalized'",
        "UPDATE billing_invoice SET status = 'finalized' WHERE status = 'finalized'",
        f"DELETE FROM billing_invoice WHERE id = {START}",
    ],
    "line": [
        f"UPDATE billing_invoiceline SET amount = 1 {OF_START}",
        f"UPDATE billing_invoiceline SET description = 'less' {OF_START}",
        f"UPDATE billing_invoiceline SET invoice_id = {DRAFT}, position = 9 {OF_START}",
        f"UPDATE billing_invoiceline SET invoice_id = {START}, position = 9 WHERE invoice_id = {DRAFT}",
        f"DELETE FROM billing_invoiceline {OF_START}",
        f"""INSERT INTO billing_invoiceline
            SELECT (jsonb_populate_record(l, jsonb_build_object('id', gen_random_uuid(), 'position', 9))).*
            FROM billing_invoiceline l {OF_START}""",
    ],
    "transfer": [
        "UPDATE billing_transfer SET amount = 1",
        "UPDATE billing_transfer SET key = 'other'",
        "DELETE FROM billing_transfer",
    ],
    "account": [
        "UPDATE billing_account SET debits = debits - 1 WHERE debits > 0",
        "UPDATE billing_account SET credits = credits - 1 WHERE credits > 0",
        "UPDATE billing_account SET currency = 'EUR'",
        "UPDATE billing_account SET customer_id = (SELECT id FROM plans_customer WHERE key = 'bolt')",
        "DELETE FROM billing_account",
    ],
}


@pytest.fixture
def a_bill_and_a_draft(settings: Settings) -> None:
    subscribed(acme(), a_plan())
    billed(NOON)
    settings.HOLD_DRAFTS = True
    happened(conversation("c"), now=NOON)
    billed(DEC_2 + GRACE)
    bolt()


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_final_cannot_be_changed_by_anybody(a_bill_and_a_draft: None, row: str) -> None:
    before = frozen_rows()
    for statement in REFUSED[row]:
        with pytest.raises(DatabaseError, match="frozen|append-only|only grows"), transaction.atomic():
            connection.cursor().execute(statement)
    assert frozen_rows() == before


def test_a_draft_and_its_lines_may_still_change(a_bill_and_a_draft: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE billing_invoiceline SET description = 'better' WHERE invoice_id = {DRAFT}")
        cursor.execute(f"UPDATE billing_invoice SET counted_at = now() WHERE id = {DRAFT}")
        cursor.execute(f"DELETE FROM billing_invoiceline WHERE invoice_id = {DRAFT}")
        cursor.execute("DELETE FROM billing_invoice WHERE status = 'draft'")
    assert Invoice.objects.count() == 1


def test_finalizing_freezes(a_bill_and_a_draft: None) -> None:
    draft = finalize_invoice(Invoice.objects.get(status="draft").pk, now=DEC_2)
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        draft.lines.update(amount=0)


def test_a_finalized_invoice_only_takes_its_fate(a_bill_and_a_draft: None) -> None:
    start = Invoice.objects.get(kind="start")
    before = frozen_rows()
    void_invoice(start.pk, reason="wrong", now=DEC_2)
    assert before <= frozen_rows()
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        Invoice.objects.filter(pk=start.pk).update(status="paid", paid_at=DEC_2)


def test_an_invoice_whose_sum_is_wrong_cannot_be_finalized(a_bill_and_a_draft: None) -> None:
    draft = Invoice.objects.filter(status="draft")
    with pytest.raises(DatabaseError, match="invoice_adds_up"), transaction.atomic():
        draft.update(status="finalized", number="INV-000002", finalized_at=DEC_2, amount_due=1)
    with pytest.raises(DatabaseError, match="invoice_finalized_with_number"), transaction.atomic():
        draft.update(status="paid", amount_due=4902)
