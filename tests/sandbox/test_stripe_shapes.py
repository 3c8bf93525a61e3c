import pytest

from tests.sandbox.stripe_cast import acme, open_invoice, taxed
from tests.sandbox.stripe_shape import wrong_with

EXPANDED = {"expand": ["line_items.data.tax_breakdown"]}


@pytest.fixture
def history(client):
    """An invoice that was credited while open, paid, credited again, and refunded in part without success."""
    invoice = open_invoice(client, acme(client, "pm_card_refundFail"), 1000, 500)
    custom = {"type": "custom_line_item", "unit_amount": 10, "quantity": 3, "description": "Downtime"}
    client.v1.credit_notes.create({"invoice": invoice, "lines": [custom]})
    client.v1.invoices.pay(invoice)
    client.v1.credit_notes.create({"invoice": invoice, "amount": 500, "refund_amount": 300, "credit_amount": 200})
    return client.v1


def test_everything_about_an_invoice_has_the_shape_that_the_sdk_declares(history, sandbox):
    nouns = ("customers", "invoices", "payment_methods", "payment_intents", "invoice_payments", "charges", "refunds")
    for noun in (*nouns, "credit_notes", "events"):
        found = getattr(history, noun).list({"limit": 100}).data
        assert [problem for thing in found for problem in wrong_with(thing)] == []
        assert found


def test_a_refund_has_its_shape_in_every_status(history, sandbox):
    refund = history.refunds.list().data[0].id
    sandbox.move_clock(60)
    failed = history.refunds.retrieve(refund)
    sandbox.refunds_are_born("pending")
    pending = history.refunds.create({"charge": failed.charge, "amount": 1})
    assert [failed.status, pending.status] == ["failed", "pending"]
    assert wrong_with(failed) + wrong_with(pending) == []


@pytest.mark.parametrize("details", [{}, {"taxability_override": "reverse_charge"}, {"country": "BR"}])
def test_tax_has_the_shape_that_the_sdk_declares(client, details):
    tax = client.v1.tax
    calculation = taxed(client, 1000, 500, **details, **EXPANDED)
    recorded = tax.transactions.create_from_calculation(
        {"calculation": calculation.id, "reference": "INV-1", "metadata": {"a": "b"}, "expand": ["line_items"]}
    )
    back = {"original_transaction": recorded.id, "reference": "INV-1-1", "expand": ["line_items"]}
    partial = tax.transactions.create_reversal({**back, "mode": "partial", "flat_amount": -100})
    assert [wrong_with(thing) for thing in (calculation, recorded, partial)] == [[], [], []]


def test_a_wrong_shape_is_noticed(history):
    note = history.credit_notes.list().data[0].to_dict()
    note.update(colour="red", amount="500", type="odd")
    del note["total"]
    note["refunds"][0]["type"] = 1
    assert sorted(wrong_with(note)) == [
        "credit_note.amount is a str",
        "credit_note.colour is unknown to the SDK",
        "credit_note.refunds[0].type is 1",
        "credit_note.total is missing",
        "credit_note.type is 'odd'",
    ]
