"""Which tax was collected or given back? Tax transactions; they never change, and a reversal is one more of them.

What a partial reversal can still take is what is left of the original; a full one takes all of it, whatever partial
reversals there were, as Stripe's does. A partial reversal that turned out wrong is undone by a full reversal of it.
"""

from dataclasses import dataclass

from sandbox import stripe_tax_objects as shapes
from sandbox.stripe_desk import Desk, Params
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object
from sandbox.stripe_tax import need_calculation

LONGEST_REFERENCE = 500
MOST_PARTIAL_REVERSALS = 30


@dataclass(frozen=True)
class Left:
    """What is left of a line, in minor units. `amount` contains the tax where the line's does."""

    line: Object
    amount: int
    tax: int

    @property
    def gross(self) -> int:
        return self.amount if self.line["tax_behavior"] == "inclusive" else self.amount + self.tax


def record(desk: Desk, params: Params) -> Object:
    """`POST /v1/tax/transactions/create_from_calculation`."""
    calculation = need_calculation(desk, params["calculation"])
    _check_reference(desk, params["reference"])
    made = shapes.transaction(desk.new_id("tax"), desk.now, calculation, params["reference"], params.get("metadata"))
    made["posted_at"] = params.get("posted_at", desk.now)
    if made["posted_at"] > max(desk.now, made["tax_date"]):
        raise Refusal(400, "posted_at must fall within the tax_date and the current time.", param="posted_at")
    made["line_items"] = [shapes.transaction_line(desk.new_id("tax_li"), line) for line in calculation["line_items"]]
    desk.save(made)
    return made


def reverse(desk: Desk, params: Params) -> Object:
    """`POST /v1/tax/transactions/create_reversal`."""
    if "shipping_cost" in params:
        raise not_played("the reversal's shipping_cost", "shipping_cost")
    original = desk.need("tax.transaction", params["original_transaction"], "original_transaction")
    _check_reference(desk, params["reference"])
    reversals = desk.store.find("tax.transaction", {"reversal.original_transaction": original["id"]})
    if any(reversal["mode"] == "full" for reversal in reversals):
        raise Refusal(400, f"You can't reverse transaction '{original['id']}' because it has been fully reversed.")
    lines = _all(desk, original, params) if params["mode"] == "full" else _part(desk, original, reversals, params)
    made = shapes.transaction(desk.new_id("tax"), desk.now, original, params["reference"], params.get("metadata"))
    made.update(line_items=lines, type="reversal", reversal={"original_transaction": original["id"]})
    desk.save({**made, "mode": params["mode"]})
    return made


def _all(desk: Desk, original: Object, params: Params) -> list[Object]:
    for name in ("flat_amount", "line_items"):
        if name in params:
            raise Refusal(400, f"You can't provide {name} when mode is full.", param=name)
    if original["type"] == "reversal" and original["mode"] == "full":
        raise Refusal(400, "You can't reverse a full reversal.", param="original_transaction")
    return [
        shapes.reversed_line(desk.new_id("tax_li"), line, -line["amount"], -line["amount_tax"])
        for line in original["line_items"]
    ]


def _part(desk: Desk, original: Object, reversals: list[Object], params: Params) -> list[Object]:
    given = [name for name in ("flat_amount", "line_items") if name in params]
    if len(given) != 1:
        code = "parameters_exclusive" if given else "parameter_missing"
        raise Refusal(400, "Provide exactly one of flat_amount and line_items when mode is partial.", code=code)
    if original["type"] == "reversal":
        raise Refusal(400, "A reversal can only be reversed fully.", param="mode")
    if len(reversals) >= MOST_PARTIAL_REVERSALS:
        raise Refusal(400, f"A transaction can have at most {MOST_PARTIAL_REVERSALS} partial reversals.")
    left = _left(desk, original, reversals)
    if "flat_amount" in params:
        return _flat(desk, left, params["flat_amount"])
    return _chosen(desk, {each.line["id"]: each for each in left}, params["line_items"])


def _left(desk: Desk, original: Object, reversals: list[Object]) -> list[Left]:
    """What no partial reversal has taken yet, but for those that were undone."""
    undone = {
        reversal["id"]
        for reversal in reversals
        if desk.store.find("tax.transaction", {"reversal.original_transaction": reversal["id"]})
    }
    taken = [line for reversal in reversals if reversal["id"] not in undone for line in reversal["line_items"]]
    left = []
    for line in original["line_items"]:
        of_line = [each for each in taken if each["reversal"]["original_line_item"] == line["id"]]
        amount = line["amount"] + sum(each["amount"] for each in of_line)
        left.append(Left(line, amount, line["amount_tax"] + sum(each["amount_tax"] for each in of_line)))
    return left


def _flat(desk: Desk, left: list[Left], flat: int) -> list[Object]:
    """Spread over the lines by what is left of each, the parts adding up to the whole."""
    total = sum(each.gross for each in left)
    if flat >= 0:
        raise Refusal(400, "flat_amount must be negative.", code="parameter_invalid_integer", param="flat_amount")
    if -flat > total:
        raise Refusal(400, f"flat_amount {flat} reverses more than the {total} that is left.", param="flat_amount")
    lines, reached, given = [], 0, 0
    for each in left:
        reached += each.gross
        share = _share(-flat, reached, total) - given
        given += share
        tax = _share(share, each.tax, each.gross)
        amount = share if each.line["tax_behavior"] == "inclusive" else share - tax
        lines.append(shapes.reversed_line(desk.new_id("tax_li"), each.line, -amount, -tax))
    return lines


def _share(whole: int, part: int, total: int) -> int:
    """whole x part / total, a half rounded up; all are at least zero."""
    return (2 * whole * part + total) // (2 * total) if total else 0


def _chosen(desk: Desk, left: dict[str, Left], given: list[Params]) -> list[Object]:
    lines = []
    for place, wanted in enumerate(given):
        param = f"line_items[{place}]"
        each = left.pop(wanted["original_line_item"], None)
        if each is None:
            raise missing("tax transaction line item", wanted["original_line_item"], f"{param}[original_line_item]")
        for name, most in (("amount", each.amount), ("amount_tax", each.tax)):
            if not -most <= wanted[name] <= 0:
                raise Refusal(
                    400,
                    f"Invalid {name}: {wanted[name]} must be between {-most}, what is left to reverse, and 0.",
                    param=f"{param}[{name}]",
                )
        line = shapes.reversed_line(desk.new_id("tax_li"), each.line, wanted["amount"], wanted["amount_tax"])
        line.update(reference=wanted["reference"], metadata=wanted.get("metadata"))
        line["quantity"] = wanted.get("quantity", line["quantity"])
        lines.append(line)
    return lines


def _check_reference(desk: Desk, reference: str) -> None:
    if len(reference) > LONGEST_REFERENCE:
        raise Refusal(400, f"Invalid string: at most {LONGEST_REFERENCE} characters.", param="reference")
    if desk.store.find("tax.transaction", {"reference": reference}):
        raise Refusal(
            400,
            f"A tax transaction with reference '{reference}' already exists.",
            code="resource_already_exists",
            param="reference",
        )
