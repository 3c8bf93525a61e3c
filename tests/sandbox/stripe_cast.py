"""The Stripe stand-in's cast: Acme pays with a good card, driven by the real SDK."""

from typing import Any

from stripe import Charge, StripeClient, tax

from sandbox.stripe_sandbox import StripeSandbox


def client_of(sandbox: StripeSandbox) -> StripeClient:
    return StripeClient("sk_test_parley", base_addresses={"api": sandbox.url}, max_network_retries=0)


def acme(client: StripeClient, card: str | None = "pm_card_visa", **fields: Any) -> str:
    """A customer with a default card; answers the id."""
    customer = client.v1.customers.create({"name": "Acme Inc", "email": "ap@acme.test", **fields})
    if card:
        method = client.v1.payment_methods.attach(card, {"customer": customer.id})
        client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    return customer.id


def draft(client: StripeClient, customer: str, *amounts: int, **fields: Any) -> str:
    invoice = client.v1.invoices.create({"customer": customer, "currency": "usd", "auto_advance": False, **fields})
    if amounts:
        lines = [{"amount": amount, "description": f"Tier {place}"} for place, amount in enumerate(amounts)]
        client.v1.invoices.add_lines(invoice.id, {"lines": lines})
    return invoice.id


def open_invoice(client: StripeClient, customer: str, *amounts: int, **fields: Any) -> str:
    invoice = draft(client, customer, *amounts, **fields)
    client.v1.invoices.finalize_invoice(invoice)
    return invoice


def paid_invoice(client: StripeClient, customer: str, *amounts: int, **fields: Any) -> str:
    invoice = open_invoice(client, customer, *amounts, **fields)
    client.v1.invoices.pay(invoice)
    return invoice


def charge_of(client: StripeClient, invoice: str) -> Charge:
    payment = client.v1.invoice_payments.list({"invoice": invoice, "status": "paid"}).data[0].payment
    intent = client.v1.payment_intents.retrieve(str(payment.payment_intent))
    return client.v1.charges.retrieve(str(intent.latest_charge))


def taxed(
    client: StripeClient, *amounts: int, country: str = "DE", behavior: str = "exclusive", **fields: Any
) -> tax.Calculation:
    """The tax on amounts in euro cents; `fields` are of the customer's details, the address or the request."""
    details: dict[str, Any] = {"address": {"country": country}, "address_source": "billing"}
    for name in ("tax_ids", "taxability_override", "address_source"):
        if name in fields:
            details[name] = fields.pop(name)
    details["address"] |= fields.pop("address", {})
    lines = [
        {"amount": amount, "reference": f"line {place}", "tax_behavior": behavior}
        for place, amount in enumerate(amounts)
    ]
    asked: Any = {"currency": "eur", "customer_details": details, "line_items": lines, **fields}
    return client.v1.tax.calculations.create(asked)
