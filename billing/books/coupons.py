"""Is every discount one that was promised: a coupon redeemed as it allows, for the periods it says, or one by hand?"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from billing.books.invariant import Invariant, Row, paged
from plans.money import to_minor

COUNTED = """
SELECT coupon.code, coupon.redeemed, coupon.max_redemptions, coalesce(own.rows, 0) AS redemptions
FROM billing_coupon coupon LEFT JOIN (SELECT coupon_id, count(*) AS rows FROM billing_redemption GROUP BY coupon_id) own
  ON own.coupon_id = coupon.id
WHERE coupon.redeemed <> coalesce(own.rows, 0)
"""
TOO_OFTEN = """
SELECT coupon.code, coupon.max_redemptions, count(*) AS redemptions
FROM billing_coupon coupon JOIN billing_redemption redemption ON redemption.coupon_id = coupon.id
GROUP BY coupon.id HAVING count(*) > coupon.max_redemptions OR count(*) > count(DISTINCT redemption.subscription_id)
"""
AS_PROMISED = """
SELECT coupon.code, customer.key AS customer, redemption.first_period, redemption.end_period, redemption.redeemed_at,
    coupon.duration, coupon.periods, coupon.redeem_by, coupon.currency
FROM billing_redemption redemption JOIN billing_coupon coupon ON coupon.id = redemption.coupon_id
JOIN plans_customer customer ON customer.id = redemption.customer_id
JOIN plans_subscription subscription ON subscription.id = redemption.subscription_id
WHERE redemption.customer_id <> subscription.customer_id OR coupon.currency NOT IN ('', customer.currency)
   OR redemption.redeemed_at >= coupon.redeem_by OR redemption.first_period < 0
   OR redemption.end_period IS NULL AND coupon.duration <> 'forever'
   OR redemption.end_period - redemption.first_period > CASE coupon.duration WHEN 'once' THEN 1 ELSE coupon.periods END
"""
# A base fee billed in advance may have been discounted before the discount was ended: that is given back when the
# period closes, by the opposite line or within an adjustment. Before its first period a redemption never counted.
# An adjustment settles discounts with the usage, so that of its period the discount lines alone say nothing.
OF_REDEEMED_PERIODS = """
SELECT coupon.code, redemption.first_period, redemption.end_period, line.period_index, count(*) AS lines,
    sum(line.amount)::bigint AS taken
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
JOIN billing_redemption redemption ON redemption.id = line.redemption_id
JOIN billing_coupon coupon ON coupon.id = redemption.coupon_id
LEFT JOIN billing_billingschedule schedule ON schedule.subscription_id = line.subscription_id
WHERE NOT (invoice.status = 'void' AND EXISTS (SELECT FROM billing_invoice anew WHERE anew.reissue_of_id = invoice.id))
GROUP BY coupon.code, redemption.id, line.subscription_id, line.period_index, schedule.next_period
HAVING line.subscription_id <> redemption.subscription_id OR line.period_index < redemption.first_period
   OR (sum(line.amount) > 0 OR sum(line.amount) <> 0 AND line.period_index >= redemption.end_period
          AND line.period_index < schedule.next_period)
      AND NOT EXISTS (SELECT FROM billing_invoiceline adjustment
        WHERE adjustment.subscription_id = line.subscription_id AND adjustment.period_index = line.period_index
          AND adjustment.kind = 'adjustment')
"""
DISCOUNTS = """
SELECT invoice.id AS invoice, invoice.number, invoice.currency, line.position, line.description, line.amount,
    line.details::text, line.period_index
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id WHERE line.kind = 'discount'
"""
DISCOUNTED = """
SELECT invoice.id AS invoice, invoice.number, line.id::text AS line, line.position, line.kind, line.amount
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind <> 'discount' AND EXISTS (SELECT FROM billing_invoiceline discount
    WHERE discount.invoice_id = invoice.id AND discount.kind = 'discount' AND discount.period_index IS NULL)
"""


def discounts_of_more_than_there_is(now: dt.datetime) -> Iterator[Row]:
    """Discounts that take more than they say they are off, or, by hand, other than they say off which lines."""
    for line in paged(DISCOUNTS):
        details = msgspec.json.decode(line.pop("details"))
        whole = to_minor(Decimal(details.get("of", 0)), line["currency"])
        by_hand = line["period_index"] is None
        parts = [to_minor(Decimal(part["amount"]), line["currency"]) for part in details.get("allocation", ())]
        if -line["amount"] > whole or by_hand and (max(parts, default=0) >= 0 or sum(parts) != line["amount"]):
            yield {**line, "off": whole, "divided": parts}


def lines_discounted_below_nothing(now: dt.datetime) -> Iterator[Row]:
    """Lines from which discounts given by hand take more than they are, and discounts on lines of other invoices."""
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for discount in paged(DISCOUNTS):
        if discount["period_index"] is None:
            for part in msgspec.json.decode(discount["details"]).get("allocation", ()):
                off = to_minor(Decimal(part["amount"]), discount["currency"])
                taken[discount["invoice"]][part["line"]] += off
    for line in paged(DISCOUNTED):
        off = taken[line["invoice"]].pop(line["line"], 0)
        if off and line["amount"] + off < 0:
            yield {**line, "taken": off}
    for invoice, lost in taken.items():
        yield from ({"invoice": invoice, "line": line, "taken": off} for line, off in lost.items())


COUPONS = (
    Invariant("coupon_counts_its_redemptions", "A coupon says how often it has been redeemed.", COUNTED),
    Invariant(
        "coupon_is_redeemed_as_often_as_it_allows",
        "No coupon is redeemed more often than it allows, or twice by one subscription.",
        TOO_OFTEN,
    ),
    Invariant(
        "redemption_is_as_its_coupon_promised",
        "A discount is the customer's own, in its currency, redeemed in time, and lasts no longer than promised.",
        AS_PROMISED,
    ),
    Invariant(
        "coupon_discounts_the_periods_it_was_redeemed_for",
        "A coupon takes off the periods that it was redeemed for, and off no other; and it adds nothing.",
        OF_REDEEMED_PERIODS,
    ),
    Invariant(
        "discount_is_no_more_than_what_it_is_off",
        "A discount takes no more than it says it is off, and by hand what it says off which lines.",
        discounts_of_more_than_there_is,
    ),
    Invariant(
        "discounted_line_keeps_at_least_nothing",
        "Discounts by hand are on lines of their invoice, and take no more off one than it is.",
        lines_discounted_below_nothing,
    ),
)
