"""What do Stripe Tax's objects look like? Calculations, transactions and their line items, with every field.

Kept with their line items, which the API shows only when they are expanded.
"""

from decimal import Decimal

from sandbox.stripe_store import Object
from sandbox.stripe_tax_rates import TAX_NAMES, Finding

EXPIRES_AFTER_S = 90 * 86_400


def customer_details(given: Object) -> Object:
    """Every field, with the ones not given."""
    address = dict.fromkeys(("city", "line1", "line2", "postal_code", "state"))
    return {
        "address": {**address, **given["address"]},
        "address_source": given["address_source"],
        "ip_address": None,
        "tax_ids": given.get("tax_ids", []),
        "taxability_override": given.get("taxability_override", "none"),
    }


def calculation(made: str, now: int, currency: str, details: Object, tax_date: int) -> Object:
    return {
        "id": made,
        "object": "tax.calculation",
        "amount_total": 0,
        "currency": currency,
        "customer": None,
        "customer_details": details,
        "expires_at": now + EXPIRES_AFTER_S,
        "line_items": [],
        "livemode": False,
        "ship_from_details": None,
        "shipping_cost": None,
        "tax_amount_exclusive": 0,
        "tax_amount_inclusive": 0,
        "tax_breakdown": [],
        "tax_date": tax_date,
    }


def calculation_line(made: str, given: Object, reference: str, tax: int, breakdown: list[Object]) -> Object:
    return {
        "id": made,
        "object": "tax.calculation_line_item",
        "amount": given["amount"],
        "amount_tax": tax,
        "livemode": False,
        "metadata": given.get("metadata"),
        "performance_location": None,
        "product": None,
        "quantity": given.get("quantity", 1),
        "reference": reference,
        "tax_behavior": given.get("tax_behavior", "exclusive"),
        "tax_breakdown": breakdown,
        "tax_code": given["tax_code"],
    }


def line_breakdown(finding: Finding, tax: int, taxable: int) -> Object:
    """How one line's tax came about."""
    rate = {
        "display_name": TAX_NAMES.get(finding.kind or "", "Tax"),
        "percentage_decimal": percentage(finding.percent),
        "tax_type": finding.kind,
    }
    return {
        "amount": tax,
        "jurisdiction": {
            "country": finding.country,
            "display_name": finding.name,
            "level": "country",
            "state": None,
        },
        "sourcing": "destination",
        "tax_rate_details": rate if finding.applies else None,
        "taxability_reason": finding.reason,
        "taxable_amount": taxable,
    }


def breakdown(finding: Finding, *, inclusive: bool, tax: int, taxable: int) -> Object:
    """How the whole calculation's tax came about."""
    return {
        "amount": tax,
        "inclusive": inclusive,
        "tax_rate_details": {
            "country": finding.country,
            "flat_amount": None,
            "percentage_decimal": percentage(finding.percent),
            "rate_type": "percentage" if finding.applies else None,
            "state": None,
            "tax_type": finding.kind,
        },
        "taxability_reason": finding.reason,
        "taxable_amount": taxable,
    }


def transaction(made: str, now: int, origin: Object, reference: str, metadata: Object | None) -> Object:
    """From a calculation or, for a reversal, from the transaction that it reverses."""
    return {
        "id": made,
        "object": "tax.transaction",
        "created": now,
        "currency": origin["currency"],
        "customer": origin["customer"],
        "customer_details": origin["customer_details"],
        "line_items": [],
        "livemode": False,
        "metadata": metadata,
        "posted_at": now,
        "reference": reference,
        "reversal": None,
        "ship_from_details": None,
        "shipping_cost": None,
        "tax_date": origin["tax_date"],
        "type": "transaction",
    }


def transaction_line(made: str, line: Object) -> Object:
    """The line of a calculation, recorded."""
    kept = (
        "amount",
        "amount_tax",
        "livemode",
        "metadata",
        "product",
        "quantity",
        "reference",
        "tax_behavior",
        "tax_code",
    )
    return {
        "id": made,
        "object": "tax.transaction_line_item",
        **{name: line[name] for name in kept},
        "reversal": None,
        "type": "transaction",
    }


def reversed_line(made: str, line: Object, amount: int, tax: int) -> Object:
    """A line that takes back so much of another; the amounts have the opposite sign."""
    return {
        **line,
        "id": made,
        "amount": amount,
        "amount_tax": tax,
        "reversal": {"original_line_item": line["id"]},
        "type": "reversal",
    }


def percentage(percent: Decimal) -> str:
    """As Stripe writes it: 19 is "19.0"."""
    text = f"{percent.normalize():f}"
    return text if "." in text else f"{text}.0"
