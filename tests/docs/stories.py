"""What do the blocks of the kind "story" say? Acme's days, played against the database, and all that is invoiced.

A line that begins with a date is something that happens then, in UTC; what follows it, indented, is what it brought
(`documents`). After each thing the sweeps run as they do in production. A line "# ..." is a sum.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from billing.billing import bill
from billing.changing import make_change
from billing.coupons import create_coupon, redeem
from billing.credit_notes import credit_note
from billing.editing import add_discount, add_line
from billing.expiring import expire_grants
from billing.finalizing import finalize_invoice, void_invoice
from billing.models import Invoice
from billing.one_off import OneOff, draft_one_off
from billing.reissuing import reissue
from billing.taxes import add_tax_rate
from billing.topping_up import set_rule, top_up_due
from plans import changing
from plans.models import Plan, Subscription
from plans.subscribing import subscribe
from tests.billing.books import TOKENS
from tests.billing.purse import bought, pay, prepaid, present
from tests.cast import a_plan, acme, report, send
from tests.docs.documents import Documents
from tests.docs.figures import equation
from tests.docs.page import COUNT, MONEY, Block, instant, like, matched, minor, raw_terms, whole

DATE = r"\d{4}-\d\d-\d\d(?: \d\d:\d\d)?"
IDLE = dt.timedelta(hours=24)
"""A conversation settles so long after its last call."""


class Story:
    """One customer, from its first day to the end of the block."""

    def __init__(self, settings: Any) -> None:
        settings.TAX, settings.HOLD_DRAFTS, self.settings = "fixed", False, settings
        self.now = instant("2026-01-01")
        self.acme = acme()
        self.reported = 0
        self.documents = Documents(self.acme)
        self.coupons = 0

    def play(self, block: Block) -> Iterator[str]:
        """The block as it should read; where it names a plan, Acme is on that since the first of November."""
        if block.name:
            self._go_on(instant("2026-11-01"))
            self.subscribes(block.name, None)
            self._sweep()
            list(self.documents.news(self.now))
        for line in block.lines:
            if step := re.fullmatch(rf"({DATE})  (.+)", line):
                yield from self.documents.news(self.now)
                yield line
                self._go_on(instant(step[1]))
                self._do(step[2])
                self._sweep()
            elif line.startswith("# "):
                yield f"# {equation(line[2:])}"
        yield from self.documents.news(self.now)

    def _go_on(self, now: dt.datetime) -> None:
        assert now >= self.now, f"{now} comes after {self.now}"
        self.now = now

    def _sweep(self) -> None:
        assert not bill(as_of=self.now, now=self.now).failed
        expire_grants(as_of=self.now, now=self.now)
        top_up_due(as_of=self.now, now=self.now)

    def _do(self, said: str) -> None:
        for form, act in ACTS.items():
            if match := re.fullmatch(form, said):
                act(self, *match.groups())
                return
        raise AssertionError(f"not understood: {said!r}")

    # What happens

    def passes(self) -> None:
        """Nothing but time."""

    def subscribes(self, plan: str, anchor: str | None) -> None:
        anchor_at = instant(anchor) if anchor else None
        agreed = self._plan(plan)
        subscribe(self.acme, agreed, version=None, starts_at=self.now, anchor_at=anchor_at, now=self.now)

    def moves(self, plan: str, when: str | None) -> None:
        moment: Any = {None: None, "now": "now", "at the period's end": "period_end"}.get(when)
        if when is not None and when.startswith("on "):
            moment = instant(when.removeprefix("on "))
        version = self._plan(plan).versions.latest("version")
        self._change(changing.change_plan, version=version, when=moment)

    def cancels(self, when: str) -> None:
        self._change(changing.cancel, when="now" if when == "now" else "period_end")

    def changes(self, said: str) -> None:
        named = {
            "takes the change back": changing.unschedule_change,
            "pauses": changing.pause,
            "resumes": changing.resume,
            "takes the cancellation back": changing.uncancel,
        }
        self._change(named[said])

    def settle(self, number: str, tier: str, outcome: str | None) -> None:
        self._report(number, tier, self.now - IDLE, outcome=outcome)

    def settled(self, number: str, tier: str, when: str) -> None:
        self._report(number, tier, instant(when) - IDLE)

    def begin(self, number: str, tier: str) -> None:
        self._report(number, tier, self.now)

    def tax(self, percent: str, how: str) -> None:
        inclusive = how == "contained"
        add_tax_rate(
            country="", name="VAT", percent=Decimal(percent), inclusive=inclusive, starts_at=self.now, now=self.now
        )

    def gets(self, amount: str, until: str | None) -> None:
        present(minor(amount), now=self.now, expires_at=instant(until) if until else None)

    def pays_in(self, amount: str, until: str | None) -> None:
        prepaid(minor(amount), now=self.now, expires_at=instant(until) if until else None)

    def buys(self, amount: str) -> None:
        bought(minor(amount), now=self.now)

    def top_up(self, below: str, up_to: str) -> None:
        set_rule(self.acme, below=minor(below), up_to=minor(up_to), cool_off=dt.timedelta(hours=1), now=self.now)

    def redeems(self, percent: str | None, amount: str | None, what: str, lasts: str) -> None:
        periods = re.fullmatch(r"(\d+) periods", lasts)
        self.coupons += 1
        coupon = create_coupon(
            code=f"COUPON{self.coupons}",
            name="Coupon",
            percent_off=None if percent is None else Decimal(percent),
            amount_off=None if amount is None else Decimal(amount),
            currency="" if amount is None else "USD",
            applies_to={"everything": "all", "the base fee": "base_fee", "usage": "usage"}[what],
            duration="repeating" if periods else {"one period": "once", "for ever": "forever"}[lasts],
            periods=int(periods[1]) if periods else None,
            now=self.now,
        )
        redeem(coupon.code, self._subscription(), now=self.now)

    def hold(self) -> None:
        self.settings.HOLD_DRAFTS = True

    def bill_once(self, what: str, number: str, unit: str) -> None:
        draft_one_off(self.acme, [OneOff(what, int(number), Decimal(unit))], now=self.now, finalize=True)

    def edit_line(self, what: str, number: str, unit: str) -> None:
        draft = self._draft()
        add_line(draft.pk, description=what, quantity=int(number), unit_amount=Decimal(unit), now=self.now)

    def edit_discount(self, percent: str) -> None:
        add_discount(self._draft().pk, description=f"{percent}% off", percent=Decimal(percent), now=self.now)

    def finalize(self) -> None:
        finalize_invoice(self._draft().pk, now=self.now)

    def paid(self, number: str) -> None:
        pay(self._invoice(number), now=self.now)

    def void(self, number: str) -> None:
        void_invoice(self._invoice(number).pk, reason="wrong", now=self.now)

    def issue_again(self, number: str) -> None:
        reissue(self._invoice(number).pk, reason="wrong", now=self.now)

    def take_back(self, amount: str, number: str, refund: str | None) -> None:
        cents = None if amount == "all" else minor(amount)
        to: Any = "refund" if refund else "credit"
        credit_note(self._invoice(number), reason="wrong", amount=cents, to=to, now=self.now)

    # How

    def _plan(self, said: str) -> Plan:
        """ "small", as the page agrees it, or "tried, small with {...}", which is agreed here."""
        code, other, written = matched(r"(\w+)(?:, (\w+) with (\{.+\}))?", said)
        raw = like(other, json.loads(written)) if other else raw_terms(code)
        return Plan.objects.filter(code=code).first() or a_plan(code, **raw)

    def _subscription(self) -> Subscription:
        return Subscription.objects.filter(customer=self.acme).latest("starts_at")

    def _draft(self) -> Invoice:
        return Invoice.objects.get(status="draft")

    def _invoice(self, number: str) -> Invoice:
        return Invoice.objects.get(number=f"INV-{int(number):06d}")

    def _change(self, change: Any, **said: Any) -> None:
        pk = self._subscription().pk
        make_change(
            pk, lambda pk: change(pk, now=self.now, **said), now=self.now, preview=False, show=lambda *made: None
        )

    def _report(self, number: str, tier: str, called: dt.datetime, **fields: Any) -> None:
        tokens, calls = (TOKENS[tier] - 100, 0, 0, 100, 0), []
        for _ in range(whole(number)):
            self.reported += 1
            name = f"c{self.reported}"
            calls.append(report(name, called, conversation=name, tokens=tokens, **fields))
        assert set(send(calls, now=self.now)) == {"accepted"}


ACTS: dict[str, Any] = {
    r"time passes": Story.passes,
    rf"subscribes to (\w+|\w+, \w+ with {{.+}})(?:, periods begin on ({DATE}))?": Story.subscribes,
    rf"changes to (\w+|\w+, \w+ with {{.+}})(?: (now|at the period's end|on {DATE}))?": Story.moves,
    r"cancels (now|at the period's end)": Story.cancels,
    r"(takes the change back|pauses|resumes|takes the cancellation back)": Story.changes,
    rf"({COUNT}) (\w+) conversations? settles?(?: as (\w+))?": Story.settle,
    rf"({COUNT}) (\w+) conversations? that settled on ({DATE}) (?:is|are) reported": Story.settled,
    rf"({COUNT}) (\w+) conversations? begins?": Story.begin,
    rf"VAT of ({MONEY})% is (added|contained)": Story.tax,
    rf"gets ({MONEY}) of promotional credit(?: until ({DATE}))?": Story.gets,
    rf"pays ({MONEY}) into the wallet(?: until ({DATE}))?": Story.pays_in,
    rf"buys ({MONEY}) of prepaid credit": Story.buys,
    rf"agrees to top up below ({MONEY}) to ({MONEY})": Story.top_up,
    rf"redeems (?:({MONEY})%|({MONEY})) off (everything|the base fee|usage), (one period|\d+ periods|for ever)": (
        Story.redeems
    ),
    r"drafts are held": Story.hold,
    rf"is billed once: ([\w ]+), (\d+) x ({MONEY})": Story.bill_once,
    rf"the draft gets a line: ([\w -]+), (\d+) x ({MONEY})": Story.edit_line,
    rf"the draft gets ({MONEY})% off": Story.edit_discount,
    r"the draft is finalized": Story.finalize,
    r"invoice (\d+) is paid": Story.paid,
    r"invoice (\d+) is voided": Story.void,
    r"invoice (\d+) is issued again": Story.issue_again,
    rf"(all|{MONEY}) of invoice (\d+) is taken back(, as a refund)?": Story.take_back,
}
"""What can happen, by how it is said."""
