"""How does Stripe come to say what tax is due, and to know what tax was taken?

A draft that waits for its tax is taken by a sweep: what is to be taxed is worked out here, Stripe is asked outside any
transaction, its answer is written on the draft, and that is finalized. If the draft has changed meanwhile, the answer
does not fit, and Stripe is asked again. What was finalized, voided or credited is then recorded at Stripe for the
seller's tax returns: these calls are intended where that happens and made by another sweep (`stripe_tax_records`).
"""

import datetime as dt
import hashlib
import json
import logging
import uuid
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import stripe
from django.db import transaction

from billing import wallets
from billing.bills import subtotal_of
from billing.finalizing import finalize_invoice
from billing.models import GrantKind, Invoice, InvoiceStatus, StripeCall
from billing.stripe_gateway import StripeRefused, StripeUnavailable, ask, once, retry_delay, stripe_client
from billing.stripe_steps import ensure_customer
from billing.taxes import in_proportion
from plans.models import Customer, TaxExempt

log = logging.getLogger(__name__)

BATCH = 20
LEASE = dt.timedelta(minutes=5)
ASK_AGAIN_AFTER = dt.timedelta(hours=1)
"""What Stripe has refused: mostly an address that is not good enough, which somebody has to mend."""
MOST_ROUNDS = 20
"""Of working out, asking, and working out anew with the answer, for one draft in one go; mostly there are two."""
OVERRIDES = {TaxExempt.NONE: "none", TaxExempt.EXEMPT: "customer_exempt", TaxExempt.REVERSE: "reverse_charge"}
LONG_NAMES = {"sales_tax": "Sales tax", "jct": "Consumption tax"}
LONGEST_NAME = 50
PERCENT_PLACES = Decimal("0.0001")


class Answer(NamedTuple):
    """What Stripe says of a subtotal: the tax (minor units) and how it is called, under its calculation's id."""

    calculation: str
    tax: int
    name: str
    percent: Decimal | None


def finalize_due(*, now: dt.datetime) -> int:
    """Have waiting drafts taxed and finalize them; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    for taken in range(BATCH):
        draft = _take_next(now)
        if draft is None:
            return taken
        _take_on(client, draft, now)
    return BATCH


def _take_next(now: dt.datetime) -> Invoice | None:
    """The draft that waits longest, leased: nobody else takes it for a while."""
    with transaction.atomic():
        waiting = Invoice.objects.filter(status=InvoiceStatus.DRAFT, finalize_at__lte=now)
        locked = waiting.select_for_update(of=["self"], skip_locked=True).select_related("customer")
        draft = locked.order_by("finalize_at").first()
        if draft is not None:
            _put_off(draft, now + LEASE)
    return draft


def _take_on(client: stripe.StripeClient, draft: Invoice, now: dt.datetime) -> None:
    """One draft, as far as it goes; what stops it stops no other."""
    try:
        _tax_and_finalize(client, draft, now)
    except StripeUnavailable:
        _put_off(draft, now + retry_delay(_attempts(draft)))
    except StripeRefused as error:
        log.warning("Stripe does not tax %s: %s", draft, error)
        _put_off(draft, now + ASK_AGAIN_AFTER)
    except Exception:
        log.exception("taxing %s failed", draft)
        _put_off(draft, now + ASK_AGAIN_AFTER)


def _tax_and_finalize(client: stripe.StripeClient, draft: Invoice, now: dt.datetime) -> None:
    answers: dict[int, Answer] = {}
    for _ in range(MOST_ROUNDS):
        taxed = _to_be_taxed(draft.pk, answers, now)
        if taxed is None:
            return  # somebody else has finalized it, or thrown it away
        if taxed and taxed not in answers:
            answers[taxed] = _ask(client, draft, taxed, now)
            continue
        if taxed:
            _write_down(draft, taxed, answers[taxed])
        if finalize_invoice(draft.pk, gross=partial(_gross, answers), now=now).status != InvoiceStatus.DRAFT:
            return
        answers = {}  # it has changed since
    _put_off(draft, now + ASK_AGAIN_AFTER)


def _to_be_taxed(draft_id: uuid.UUID, answers: dict[int, Answer], now: dt.datetime) -> int | None:
    """What is left of a draft's subtotal after promotional credit; None: it is no draft any more.

    How much of that is used may depend on the tax, where prepaid credit comes before it: so it is worked out anew with
    every answer, and ends where the answer is known.
    """
    with transaction.atomic():
        drafts = Invoice.objects.filter(pk=draft_id, status=InvoiceStatus.DRAFT).select_related("customer")
        draft = drafts.select_for_update(of=["self"]).first()
        if draft is None:
            return None
        subtotal = subtotal_of(draft.lines.all())
        draws = wallets.draws_for(draft, subtotal, partial(_gross, answers), now)
        return subtotal - sum(amount for grant, amount in draws if grant.kind == GrantKind.PROMOTIONAL)


def _gross(answers: dict[int, Answer], subtotal: int) -> int:
    return subtotal + estimate(answers, subtotal)


def estimate(answers: dict[int, Answer], subtotal: int) -> int:
    """The tax on a subtotal: as Stripe said, else in proportion to what it said of the nearest one; minor units."""
    if not answers:
        return 0
    nearest = min(answers, key=lambda known: abs(known - subtotal))
    return in_proportion(answers[nearest].tax, nearest, subtotal)


# --- the question ---------------------------------------------------------------------------------------------------


def _ask(client: stripe.StripeClient, draft: Invoice, taxed: int, now: dt.datetime) -> Answer:
    """What Stripe says of a subtotal. Of one below zero it says what it would say above: that tax is given back."""
    customer = draft.customer
    params: Any = {
        "currency": draft.currency.lower(),
        "customer_details": _details(client, customer, now),
        "line_items": [{"amount": abs(taxed), "reference": str(draft.pk), "tax_behavior": "exclusive"}],
    }

    def send(options: stripe.RequestOptions) -> str:
        return str(client.v1.tax.calculations.create(params, options).id)

    # A calculation changes nothing and cannot be listed; asking twice under one key gives one answer.
    key = _key(draft, params)
    made = once(key, step="calculate", customer=customer, send=send, find=lambda since: None, now=now)
    return _read(ask(lambda: client.v1.tax.calculations.retrieve(made)), taxed)


def _details(client: stripe.StripeClient, customer: Customer, now: dt.datetime) -> dict[str, Any]:
    """Where the customer is: the address that Stripe has, which may be more precise than our country."""
    stripe_id = ensure_customer(client, customer, now=now)
    address = ask(lambda: client.v1.customers.retrieve(stripe_id)).address
    there = {name: value for name, value in (address.to_dict() if address else {}).items() if value}
    return {
        "address": there if there.get("country") else {"country": customer.country},
        "address_source": "billing",
        "taxability_override": OVERRIDES[TaxExempt(customer.tax_exempt)],
    }


def _key(draft: Invoice, params: Any) -> str:
    """Another question has another key; and so has one that was refused, once it is asked again."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
    asked = f"tax:{draft.pk}:{digest}:"
    refused = StripeCall.objects.filter(pk__startswith=asked, state=StripeCall.State.REFUSED).count()
    return f"{asked}{refused + 1}"


def _attempts(draft: Invoice) -> int:
    unanswered = StripeCall.objects.filter(pk__startswith=f"tax:{draft.pk}:", state=StripeCall.State.INTENT)
    return max(unanswered.values_list("attempts", flat=True), default=0)


# --- the answer -----------------------------------------------------------------------------------------------------


def _read(found: Any, taxed: int) -> Answer:
    breakdown = [part.to_dict() for part in found.tax_breakdown]
    if any(part["taxability_reason"] == "reverse_charge" for part in breakdown):
        return Answer(found.id, 0, "Reverse charge", Decimal(0))
    rates = [part["tax_rate_details"] for part in breakdown if part["amount"]]
    name = " + ".join(dict.fromkeys(_name(rate) for rate in rates))[:LONGEST_NAME]
    percents = [rate["percentage_decimal"] for rate in rates]
    percent = sum(map(Decimal, percents), Decimal(0)).quantize(PERCENT_PLACES) if percents and all(percents) else None
    tax = found.tax_amount_exclusive
    return Answer(found.id, tax if taxed > 0 else -tax, name, percent)


def _name(rate: dict[str, Any]) -> str:
    kind = rate["tax_type"] or "tax"
    return LONG_NAMES.get(kind) or (kind.upper() if len(kind) <= 4 else kind.replace("_", " ").capitalize())


def _write_down(draft: Invoice, taxed: int, answer: Answer) -> None:
    """On the draft, with the total that the answer is for: by that `finalize_invoice` sees whether it still fits."""
    Invoice.objects.filter(pk=draft.pk, status=InvoiceStatus.DRAFT).update(
        tax=answer.tax,
        tax_name=answer.name,
        tax_percent=answer.percent,
        tax_inclusive=False,
        tax_reference=answer.calculation,
        total=taxed + answer.tax,
    )


def _put_off(draft: Invoice, until: dt.datetime) -> None:
    Invoice.objects.filter(pk=draft.pk, status=InvoiceStatus.DRAFT).update(finalize_at=until)
