"""How much tax is due on a sale? Calculations: kept for 90 days, each line rounded once, half away from zero."""

import re
from decimal import ROUND_HALF_UP, Decimal

from sandbox import stripe_tax_objects as shapes
from sandbox.stripe_desk import Desk, Params
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object
from sandbox.stripe_tax_rates import Finding, find_tax

PLAYED = {"currency", "customer_details", "expand", "line_items", "tax_date"}
PLAYED_DETAILS = {"address", "address_source", "tax_ids", "taxability_override"}
PLAYED_LINE = {"amount", "metadata", "quantity", "reference", "tax_behavior", "tax_code"}
PRESET_TAX_CODE = "txcd_10000000"  # general, electronically supplied services
TAX_CODE = re.compile(r"txcd_[0-9]{8}")
MOST_LINES = 100
TAX_DATE_REACH_S = 31 * 86_400
CURRENCY = re.compile(r"[a-z]{3}")


def calculate(desk: Desk, params: Params) -> Object:
    """`POST /v1/tax/calculations`."""
    _only_played(params, PLAYED, "the tax calculation's", "")
    currency = params["currency"].lower()
    if not CURRENCY.fullmatch(currency):
        raise Refusal(400, f"Invalid currency: {currency}.", param="currency")
    tax_date = params.get("tax_date", desk.now)
    if abs(tax_date - desk.now) > TAX_DATE_REACH_S:
        raise Refusal(400, "tax_date must be within 31 days of the current time.", param="tax_date")
    details = _details(params)
    finding = find_tax(desk, details)
    made = shapes.calculation(desk.new_id("taxcalc"), desk.now, currency, details, tax_date)
    made["line_items"] = _lines(desk, params["line_items"], finding)
    _total(made, finding)
    desk.save(made)
    return made


def need_calculation(desk: Desk, wanted: str, param: str = "calculation") -> Object:
    """A calculation that has not expired."""
    found = desk.need("tax.calculation", wanted, param)
    if found["expires_at"] <= desk.now:
        raise missing("tax calculation", wanted, param)
    return found


def retrieve(desk: Desk, params: Params, wanted: str) -> Object:
    return need_calculation(desk, wanted)


def tax_on(amount: int, percent: Decimal, *, inclusive: bool) -> int:
    """The tax in minor units that is due on an amount, or contained in it."""
    exact = amount * percent / (100 + percent) if inclusive else amount * percent / 100
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def _details(params: Params) -> Object:
    if "customer_details" not in params:
        raise Refusal(
            400,
            "One of the following params should be provided: customer or customer_details.",
            code="parameter_missing",
            param="customer_details",
        )
    given = params["customer_details"]
    _only_played(given, PLAYED_DETAILS, "customer_details", "customer_details")
    for name in ("address", "address_source"):
        if name not in given:
            param = f"customer_details[{name}]"
            raise Refusal(400, f"Missing required param: {param}.", code="parameter_missing", param=param)
    return shapes.customer_details(given)


def _lines(desk: Desk, given: list[Params], finding: Finding) -> list[Object]:
    if not 1 <= len(given) <= MOST_LINES:
        raise Refusal(400, f"You must provide between 1 and {MOST_LINES} line items.", param="line_items")
    lines: list[Object] = []
    for place, wanted in enumerate(given):
        line = _line(desk, wanted, finding, place)
        if any(line["reference"] == other["reference"] for other in lines):
            param = f"line_items[{place}][reference]"
            raise Refusal(400, "Line item references must be unique within a calculation.", param=param)
        lines.append(line)
    return lines


def _line(desk: Desk, given: Params, finding: Finding, place: int) -> Object:
    param = f"line_items[{place}]"
    _only_played(given, PLAYED_LINE, "a tax line item's", param)
    for name, least in (("amount", 0), ("quantity", 1)):
        if given.get(name, least) < least:
            raise Refusal(
                400,
                f"Invalid integer: {given[name]}; must be at least {least}.",
                code="parameter_invalid_integer",
                param=f"{param}[{name}]",
            )
    code = given.get("tax_code", PRESET_TAX_CODE)
    if not TAX_CODE.fullmatch(code):
        raise Refusal(400, f"No such tax code: '{code}'", code="resource_missing", param=f"{param}[tax_code]")
    inclusive = given.get("tax_behavior") == "inclusive"
    tax = tax_on(given["amount"], finding.percent, inclusive=inclusive)
    taxable = given["amount"] - (tax if inclusive else 0) if finding.applies else 0
    reference = given.get("reference", f"L{place + 1}")
    how = [shapes.line_breakdown(finding, tax, taxable)]
    return shapes.calculation_line(desk.new_id("tax_li"), {**given, "tax_code": code}, reference, tax, how)


def _total(made: Object, finding: Finding) -> None:
    made["amount_total"] = sum(line["amount"] for line in made["line_items"])
    for behavior in ("exclusive", "inclusive"):
        lines = [line for line in made["line_items"] if line["tax_behavior"] == behavior]
        if not lines:
            continue
        tax = sum(line["amount_tax"] for line in lines)
        taxable = sum(line["tax_breakdown"][0]["taxable_amount"] for line in lines)
        made[f"tax_amount_{behavior}"] = tax
        made["tax_breakdown"].append(
            shapes.breakdown(finding, inclusive=behavior == "inclusive", tax=tax, taxable=taxable)
        )
    made["amount_total"] += made["tax_amount_exclusive"]


def _only_played(given: Params, played: set[str], whose: str, inside: str) -> None:
    for name in given:
        if name not in played:
            raise not_played(f"{whose} {name}", f"{inside}[{name}]" if inside else name)
