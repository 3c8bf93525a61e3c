import pytest
import stripe

from tests.sandbox.stripe_cast import acme, draft, open_invoice


def test_acme_pays_an_invoice_and_its_payment_can_be_followed_to_the_charge(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 4900, 1250, number="P-1")
    client.v1.invoices.pay(invoice)
    paid = client.v1.invoices.retrieve(invoice, {"expand": ["payments.data.payment.payment_intent"]})
    intent = paid.payments.data[0].payment.payment_intent
    assert (paid.status, paid.number, paid.total, paid.amount_paid, paid.amount_remaining) == (
        "paid",
        "P-1",
        6150,
        6150,
        0,
    )
    assert intent.status == "succeeded"
    assert client.v1.charges.retrieve(intent.latest_charge).amount == 6150
    assert sandbox.charged(customer)["invoices"][invoice] == {
        "currency": "usd",
        "charges": 1,
        "charged": 6150,
        "refunded": 0,
    }


def test_the_shape_is_that_of_the_new_api(client):
    invoice = client.v1.invoices.retrieve(draft(client, acme(client), 100))
    assert not {"paid", "charge", "payment_intent", "tax", "payments"} & set(invoice.to_dict())
    assert invoice.lines.data[0].parent.type == "invoice_item_details"
    assert invoice.parent is None
    assert invoice.total_taxes == []


def test_a_second_payment_is_refused_and_charges_nothing(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 900)
    client.v1.invoices.pay(invoice)
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        client.v1.invoices.pay(invoice)
    assert sandbox.charged(customer)["charged"] == {"usd": 900}


def test_an_invoice_number_is_used_once(client):
    customer = acme(client)
    draft(client, customer, number="P-7")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        draft(client, customer, number="P-7")
    assert (refused.value.http_status, refused.value.param) == (400, "number")


def test_a_finalized_invoice_cannot_be_changed(client):
    invoice = open_invoice(client, acme(client), 900)
    for change in (
        lambda: client.v1.invoices.add_lines(invoice, {"lines": [{"amount": 1}]}),
        lambda: client.v1.invoices.update(invoice, {"description": "other"}),
        lambda: client.v1.invoices.finalize_invoice(invoice),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            change()
        assert refused.value.code == "invoice_not_editable"
    assert client.v1.invoices.update(invoice, {"metadata": {"parley": "1"}}).metadata["parley"] == "1"


def test_lines_can_be_changed_and_removed_while_it_is_a_draft(client):
    invoice = draft(client, acme(client), 100, 200)
    first, second = client.v1.invoices.retrieve(invoice).lines.data
    client.v1.invoices.update_lines(invoice, {"lines": [{"id": first.id, "amount": 150}]})
    left = client.v1.invoices.remove_lines(invoice, {"lines": [{"id": second.id, "behavior": "delete"}]})
    assert (left.total, [line.amount for line in left.lines.data]) == (150, [150])


def test_an_invoice_shows_ten_lines_and_lists_all_of_at_most_250(client):
    invoice = draft(client, acme(client), *range(1, 251))
    shown = client.v1.invoices.retrieve(invoice)
    assert (len(shown.lines.data), shown.lines.has_more, shown.total) == (10, True, 31375)
    assert [line.amount for line in shown.lines.auto_paging_iter()] == list(range(1, 251))
    with pytest.raises(stripe.InvalidRequestError, match="at most 250"):
        client.v1.invoices.add_lines(invoice, {"lines": [{"amount": 1}]})


def test_a_price_times_a_quantity_is_rounded_to_the_cent(client):
    invoice = draft(client, acme(client))
    price = {"currency": "usd", "unit_amount_decimal": "0.5", "product_data": {"name": "Simple"}}
    line = client.v1.invoices.add_lines(invoice, {"lines": [{"price_data": price, "quantity": 5}]}).lines.data[0]
    assert (line.amount, line.description, str(line.pricing.unit_amount_decimal)) == (3, "Simple", "0.5")


@pytest.mark.parametrize("amounts", [(), (0,), (500, -500)])
def test_an_invoice_of_nothing_is_paid_when_finalized(client, sandbox, amounts):
    customer = acme(client)
    invoice = client.v1.invoices.retrieve(open_invoice(client, customer, *amounts))
    assert (invoice.status, invoice.amount_due, invoice.attempt_count) == ("paid", 0, 0)
    assert sandbox.charged(customer)["charged"] == {}


@pytest.mark.parametrize(("currency", "too_little"), [("usd", 49), ("jpy", 49), ("gbp", 29), ("huf", 17_499)])
def test_less_than_the_least_charge_is_paid_and_owed_on_the_balance(client, currency, too_little):
    customer = acme(client)
    first = client.v1.invoices.retrieve(open_invoice(client, customer, too_little, currency=currency))
    assert (first.status, first.amount_paid, first.ending_balance) == ("paid", 0, too_little)
    second = client.v1.invoices.retrieve(open_invoice(client, customer, 20_000, currency=currency))
    assert (second.amount_due, second.starting_balance, second.ending_balance) == (20_000 + too_little, too_little, 0)


def test_a_negative_invoice_becomes_credit_which_the_next_one_uses(client, sandbox):
    customer = acme(client)
    assert client.v1.invoices.retrieve(open_invoice(client, customer, -700)).status == "paid"
    assert client.v1.customers.retrieve(customer).balance == -700
    invoice = open_invoice(client, customer, 2000)
    assert client.v1.invoices.pay(invoice).amount_paid == 1300
    moves = client.v1.customers.balance_transactions.list(customer).data
    assert [(move.type, move.amount, move.ending_balance) for move in moves] == [
        ("applied_to_invoice", 700, 0),
        ("applied_to_invoice", -700, -700),
    ]


def test_voiding_gives_used_credit_back(client):
    customer = acme(client, balance=-500)
    invoice = open_invoice(client, customer, 2000)
    assert client.v1.invoices.void_invoice(invoice).status == "void"
    assert client.v1.customers.retrieve(customer).balance == -500
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        client.v1.invoices.pay(invoice)


def test_an_uncollectible_invoice_can_still_be_paid(client):
    invoice = open_invoice(client, acme(client), 2000)
    assert client.v1.invoices.mark_uncollectible(invoice).status == "uncollectible"
    assert client.v1.invoices.pay(invoice).status == "paid"


def test_an_invoice_to_be_sent_has_a_due_date(client):
    customer = acme(client, card=None)
    with pytest.raises(stripe.InvalidRequestError, match="due_date"):
        draft(client, customer, collection_method="send_invoice")
    invoice = draft(client, customer, 900, collection_method="send_invoice", days_until_due=14)
    sent = client.v1.invoices.send_invoice(invoice)
    assert (sent.status, sent.due_date - sent.created) == ("open", 14 * 86_400)
    assert client.v1.invoices.pay(invoice, {"paid_out_of_band": True}).amount_paid_off_stripe == 900


def test_lists_are_filtered_and_paged(client):
    customer, other = acme(client), acme(client)
    made = [draft(client, customer, 100) for _ in range(5)]
    draft(client, other, 100)
    page = client.v1.invoices.list({"customer": customer, "limit": 2})
    assert [invoice.id for invoice in page.auto_paging_iter()] == made[::-1]
    assert client.v1.invoices.list({"customer": customer, "status": "open"}).data == []
    back = client.v1.invoices.list({"customer": customer, "limit": 2, "ending_before": made[1]})
    assert [invoice.id for invoice in back.data] == [made[3], made[2]]


def test_stripe_finalizes_and_collects_by_itself_after_an_hour_each(client, sandbox):
    customer = acme(client)
    invoice = draft(client, customer, 900, auto_advance=True)
    sandbox.move_clock(3600)
    assert client.v1.invoices.retrieve(invoice).status == "open"
    sandbox.move_clock(3600)
    assert client.v1.invoices.retrieve(invoice).status == "paid"
