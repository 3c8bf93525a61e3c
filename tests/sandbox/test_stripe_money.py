import pytest
import stripe

from tests.sandbox.stripe_cast import acme, draft, open_invoice


def paid_invoice(client, customer, amount):
    invoice = open_invoice(client, customer, amount)
    client.v1.invoices.pay(invoice)
    return invoice


def intent_of(client, invoice):
    return client.v1.invoice_payments.list({"invoice": invoice}).data[0].payment.payment_intent


def test_a_declined_card_leaves_an_open_invoice_with_an_attempt(client, sandbox):
    customer = acme(client, card="pm_card_chargeCustomerFail")
    invoice = open_invoice(client, customer, 900)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice)
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert declined.value.error.decline_code == "generic_decline"
    after = client.v1.invoices.retrieve(invoice)
    assert (after.status, after.attempt_count, after.amount_paid) == ("open", 1, 0)
    assert sandbox.charged(customer)["charged"] == {}


def test_a_card_can_run_dry_and_recover(client, sandbox):
    customer = acme(client)
    card = client.v1.customers.retrieve(customer).invoice_settings.default_payment_method
    invoice = open_invoice(client, customer, 900)
    sandbox.decline(card, "insufficient_funds")
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice)
    assert declined.value.error.decline_code == "insufficient_funds"
    sandbox.decline(card, None)
    assert client.v1.invoices.pay(invoice).status == "paid"


def test_a_card_that_wants_the_customer_to_act_says_so(client):
    invoice = open_invoice(client, acme(client, card="pm_card_authenticationRequired"), 900)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice)
    assert declined.value.code == "invoice_payment_intent_requires_action"
    assert client.v1.payment_intents.retrieve(intent_of(client, invoice)).status == "requires_action"


@pytest.mark.parametrize("card", ["pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"])
def test_some_cards_are_declined_when_attached(client, card):
    with pytest.raises(stripe.CardError):
        acme(client, card=card)


def test_without_a_card_nothing_can_be_collected(client):
    invoice = open_invoice(client, acme(client, card=None), 900)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        client.v1.invoices.pay(invoice)


def test_the_card_of_another_customer_is_refused(client):
    other = acme(client)
    card = client.v1.customers.retrieve(other).invoice_settings.default_payment_method
    invoice = open_invoice(client, acme(client, card=None), 900)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        client.v1.invoices.pay(invoice, {"payment_method": card})


def test_a_charge_is_refunded_once_and_never_more_than_it_was(client, sandbox):
    customer = acme(client)
    intent = intent_of(client, paid_invoice(client, customer, 1000))
    assert client.v1.refunds.create({"payment_intent": intent, "amount": 300}).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="greater than"):
        client.v1.refunds.create({"payment_intent": intent, "amount": 701})
    client.v1.refunds.create({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_already_refunded"
    assert sandbox.charged(customer)["refunded"] == {"usd": 1000}


def test_a_credit_note_lowers_what_an_open_invoice_asks(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 1000, number="P-3")
    note = client.v1.credit_notes.create({"invoice": invoice, "amount": 400})
    assert (note.number, note.type, note.total) == ("P-3-CN-01", "pre_payment", 400)
    assert client.v1.invoices.pay(invoice).amount_paid == 600
    assert sandbox.charged(customer)["charged"] == {"usd": 600}


def test_credit_notes_never_exceed_the_invoice(client):
    invoice = paid_invoice(client, acme(client), 1000)
    client.v1.credit_notes.create({"invoice": invoice, "amount": 800, "credit_amount": 800})
    with pytest.raises(stripe.InvalidRequestError, match="exceed"):
        client.v1.credit_notes.create({"invoice": invoice, "amount": 201, "credit_amount": 201})


def test_a_credit_note_on_a_paid_invoice_is_refunded_and_credited(client, sandbox):
    customer = acme(client)
    invoice = paid_invoice(client, customer, 1000)
    note = client.v1.credit_notes.create(
        {"invoice": invoice, "amount": 500, "refund_amount": 300, "credit_amount": 200}
    )
    assert (note.post_payment_amount, note.refunds[0].amount_refunded, note.lines.data[0].amount) == (500, 300, 500)
    assert client.v1.customers.retrieve(customer).balance == -200
    assert sandbox.charged(customer)["refunded"] == {"usd": 300}
    with pytest.raises(stripe.InvalidRequestError, match="must equal"):
        client.v1.credit_notes.create({"invoice": invoice, "amount": 100})


def test_a_credit_note_over_everything_pays_the_open_invoice(client):
    invoice = open_invoice(client, acme(client), 1000)
    line = client.v1.invoices.retrieve(invoice).lines.data[0].id
    client.v1.credit_notes.create(
        {"invoice": invoice, "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "quantity": 1}]}
    )
    assert client.v1.invoices.retrieve(invoice).status == "paid"
    assert len(client.v1.credit_notes.list({"invoice": invoice}).data) == 1


def test_three_decimal_currencies_are_charged_in_tens(client):
    invoice = open_invoice(client, acme(client), 1234, currency="kwd")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.pay(invoice)
    assert refused.value.code == "invalid_charge_amount"


def test_a_deleted_customer_is_a_tombstone_and_gets_no_invoice(client):
    customer = acme(client)
    client.v1.customers.delete(customer)
    assert client.v1.customers.retrieve(customer).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as refused:
        draft(client, customer)
    assert (refused.value.code, refused.value.http_status) == ("resource_missing", 404)


def test_customers_are_found_by_metadata(client):
    customer = acme(client, metadata={"parley": "acme"})
    acme(client, metadata={"parley": "cleo"})
    found = client.v1.customers.search({"query": 'metadata["parley"]:"acme"'})
    assert [match.id for match in found.data] == [customer]
