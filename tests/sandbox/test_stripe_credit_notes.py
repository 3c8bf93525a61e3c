import pytest
import stripe

from tests.sandbox.stripe_cast import acme, charge_of, open_invoice, paid_invoice


def custom(unit_amount, quantity=1):
    return {
        "type": "custom_line_item",
        "unit_amount": unit_amount,
        "quantity": quantity,
        "description": "Credit for downtime",
    }


def told(client, prefix):
    return [event.type for event in client.v1.events.list({"limit": 100}).data[::-1] if event.type.startswith(prefix)]


def test_custom_lines_add_up_to_the_note(client):
    invoice = open_invoice(client, acme(client), 1000)
    note = client.v1.credit_notes.create(
        {"invoice": invoice, "lines": [custom(100, 2), custom(50)], "memo": "Sorry", "metadata": {"parley": "CN-1"}}
    )
    assert (note.amount, note.total, note.subtotal, note.memo) == (250, 250, 250, "Sorry")
    assert [(line.amount, line.quantity, line.unit_amount) for line in note.lines.data] == [(200, 2, 100), (50, 1, 50)]
    assert client.v1.credit_notes.list({"invoice": invoice}).data[0].metadata["parley"] == "CN-1"


def test_an_open_invoice_asks_for_less_and_paid_in_full_by_notes_is_paid(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 1000)
    client.v1.credit_notes.create({"invoice": invoice, "lines": [custom(400)]})
    lowered = client.v1.invoices.retrieve(invoice)
    assert (lowered.amount_due, lowered.amount_remaining, lowered.pre_payment_credit_notes_amount) == (600, 600, 400)
    note = client.v1.credit_notes.create({"invoice": invoice, "lines": [custom(600)]})
    settled = client.v1.invoices.retrieve(invoice)
    assert (note.type, settled.status, settled.amount_paid, settled.total) == ("pre_payment", "paid", 0, 1000)
    assert told(client, ("credit_note", "invoice.paid")) == ["credit_note.created"] * 2 + ["invoice.paid"]
    assert sandbox.charged(customer)["charged"] == {}


def test_what_the_balance_had_paid_comes_back_as_the_caller_says(client):
    customer = acme(client, balance=-300)
    invoice = open_invoice(client, customer, 1000)
    note = client.v1.credit_notes.create({"invoice": invoice, "amount": 1000, "credit_amount": 300})
    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == ("mixed", 700, 300)
    assert client.v1.invoices.retrieve(invoice).status == "paid"
    assert client.v1.customers.retrieve(customer).balance == -300


@pytest.mark.parametrize("way", ["refund_amount", "credit_amount", "out_of_band_amount"])
def test_what_was_paid_goes_back_in_one_of_three_ways(client, sandbox, way):
    customer = acme(client)
    invoice = paid_invoice(client, customer, 1000)
    note = client.v1.credit_notes.create({"invoice": invoice, "amount": 400, way: 400})
    assert (note.type, note.post_payment_amount, note.out_of_band_amount) == (
        "post_payment",
        400,
        400 if way == "out_of_band_amount" else None,
    )
    assert sandbox.charged(customer)["refunded"] == ({"usd": 400} if way == "refund_amount" else {})
    assert client.v1.customers.retrieve(customer).balance == (-400 if way == "credit_amount" else 0)
    assert client.v1.invoices.retrieve(invoice).post_payment_credit_notes_amount == 400


def test_the_same_key_credits_once(client, sandbox):
    invoice = paid_invoice(client, acme(client), 1000)
    asked = {"invoice": invoice, "amount": 400, "refund_amount": 400}
    for _ in range(2):
        client.v1.credit_notes.create(asked, {"idempotency_key": "CN-1"})
    assert (sandbox.count("credit_note"), sandbox.count("refund")) == (1, 1)


def test_a_refund_made_before_can_be_linked_and_counts_once(client):
    invoice = paid_invoice(client, acme(client), 1000)
    refund = client.v1.refunds.create({"charge": charge_of(client, invoice).id, "amount": 600}).id
    with pytest.raises(stripe.InvalidRequestError, match="at most 400 left"):
        client.v1.credit_notes.create({"invoice": invoice, "amount": 600, "credit_amount": 600})
    asked = {"invoice": invoice, "amount": 600, "refunds": [{"refund": refund, "amount_refunded": 600}]}
    note = client.v1.credit_notes.create(asked)
    assert (note.refunds[0].refund, note.post_payment_amount) == (refund, 600)
    with pytest.raises(stripe.InvalidRequestError, match="less to link"):
        client.v1.credit_notes.create({**asked, "amount": 100})
    assert client.v1.credit_notes.create({"invoice": invoice, "amount": 400, "credit_amount": 400}).amount == 400


def test_a_failed_refund_leaves_its_note_standing(client, sandbox):
    invoice = paid_invoice(client, acme(client), 1000)
    asked = {"invoice": invoice, "amount": 1000, "refund_amount": 1000}
    note = client.v1.credit_notes.create(asked)
    sandbox.move_refund(note.refunds[0].refund, "failed")
    assert client.v1.credit_notes.retrieve(note.id).status == "issued"
    with pytest.raises(stripe.InvalidRequestError, match="at most 0 left"):
        client.v1.credit_notes.create(asked)
    assert client.v1.refunds.create({"charge": charge_of(client, invoice).id}).status == "succeeded"


def test_a_preview_tells_what_would_be_and_keeps_nothing(client, sandbox):
    invoice = paid_invoice(client, acme(client), 1000)
    asked = {"invoice": invoice, "lines": [custom(150, 2)], "refund_amount": 300}
    seen = client.v1.credit_notes.preview(asked)
    assert (seen.total, seen.post_payment_amount, seen.lines.data[0].amount) == (300, 300, 300)
    assert client.v1.credit_notes.preview_lines.list(asked).data[0].unit_amount == 150
    assert (sandbox.count("credit_note"), sandbox.count("refund")) == (0, 0)
    with pytest.raises(stripe.InvalidRequestError, match="exceed"):
        client.v1.credit_notes.preview({"invoice": invoice, "amount": 1001, "refund_amount": 1001})


def test_only_a_note_on_an_open_invoice_can_be_voided(client):
    invoice = open_invoice(client, acme(client), 1000)
    note = client.v1.credit_notes.create({"invoice": invoice, "amount": 400}).id
    assert client.v1.credit_notes.void_credit_note(note).status == "void"
    assert client.v1.invoices.retrieve(invoice).amount_remaining == 1000
    for done in (note, client.v1.credit_notes.create({"invoice": invoice, "amount": 1000}).id):
        with pytest.raises(stripe.InvalidRequestError, match="only void"):
            client.v1.credit_notes.void_credit_note(done)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"amount": 0},
        {"amount": -5},
        {"amount": 100},
        {"amount": 100, "credit_amount": 200, "refund_amount": -100},
        {"amount": 1, "lines": [custom(5)], "credit_amount": 5},
        {"lines": [{**custom(5), "amount": 5}], "credit_amount": 5},
        {"lines": [{"type": "custom_line_item", "quantity": 1}], "credit_amount": 0},
        {"lines": [{"type": "invoice_line_item", "quantity": 1, "unit_amount": 5}], "credit_amount": 5},
        {"lines": [custom(5, 0)], "credit_amount": 0},
        {"amount": 100, "refunds": [{"refund": "re_nothing"}]},
    ],
)
def test_a_note_that_does_not_add_up_is_refused(client, sandbox, asked):
    invoice = paid_invoice(client, acme(client), 1000)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.credit_notes.create({"invoice": invoice, **asked})
    assert sandbox.count("credit_note") == 0


@pytest.mark.parametrize("what", ["draft", "void"])
def test_only_a_finalized_invoice_can_be_credited(client, what):
    invoice = open_invoice(client, acme(client), 1000)
    if what == "void":
        client.v1.invoices.void_invoice(invoice)
    else:
        invoice = client.v1.invoices.create({"customer": acme(client), "currency": "usd"}).id
    with pytest.raises(stripe.InvalidRequestError, match=what):
        client.v1.credit_notes.create({"invoice": invoice, "amount": 100})
