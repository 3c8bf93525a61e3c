"""What an operator adds to a draft stands in its place in the sum, and no discount takes more than there is."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.editing import (
    LARGEST_AMOUNT,
    MOST_LINES,
    InvalidLine,
    InvoiceNotEditable,
    LineNotRemovable,
    TooManyLines,
    add_discount,
    add_line,
    remove_line,
)
from billing.finalizing import InvoiceAlreadyFinalized, finalize_invoice
from billing.manual_discounts import (
    InvalidReduction,
    NoSuchLine,
    NothingToDiscount,
    Reduction,
    allocation_of,
    discount_line,
    left_of,
)
from billing.models import Invoice, InvoiceKind, InvoiceLine, LineKind
from billing.one_off import OneOff, draft_one_off
from tests.billing.books import DEC_2, GRACE, assert_books_balance, billed, conversations, happened, lines_of
from tests.billing.discounts import a_coupon, redeemed
from tests.cast import NOON, a_plan, acme, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE


def november(settings: Any, *, coupon: dict[str, Any] | None = None, enterprise: int = 2, **terms: Any) -> Invoice:
    """The draft of Acme's first cycle: 49.00 base fee for December, 0.50 for each conversation of November."""
    settings.HOLD_DRAFTS = True
    subscription = subscribed(acme(), a_plan(**terms))
    if coupon is not None:
        redeemed(a_coupon(**coupon), subscription)
    happened(*conversations(enterprise, tier="enterprise"), now=NOON)
    return next(invoice for invoice in billed(DUE) if invoice.kind == InvoiceKind.CYCLE)


@pytest.fixture
def draft(settings: Any) -> Invoice:
    return november(settings)


def set_up(draft: Invoice, unit_amount: str = "100.00", quantity: int = 1) -> InvoiceLine:
    return add_line(draft.pk, description="Set-up", quantity=quantity, unit_amount=Decimal(unit_amount), now=DUE)


def discount(draft: Invoice, *, line: InvoiceLine | None = None, **reduction: str) -> InvoiceLine:
    promised = {name: Decimal(value) for name, value in reduction.items()}
    line_id = None if line is None else line.pk
    return add_discount(draft.pk, description="As agreed", line_id=line_id, now=DUE, **promised)


def the(draft: Invoice, kind: LineKind) -> InvoiceLine:
    return draft.lines.get(kind=kind)


def subtotal_of(draft: Invoice) -> int:
    return Invoice.objects.get(pk=draft.pk).subtotal


# Lines


def test_a_one_off_line_stands_after_usage_and_is_part_of_the_sum(draft: Invoice) -> None:
    line = set_up(draft, "33.335", quantity=3)
    assert (line.amount, line.period_index, line.subscription) == (10001, None, None)
    assert lines_of(draft) == [("base_fee", "", 4900), ("usage", "enterprise", 100), ("one_off", "", 10001)]
    assert subtotal_of(draft) == 15001
    assert_books_balance()


def test_lines_keep_the_order_of_the_sum_however_they_are_added(settings: Any) -> None:
    draft = november(settings, coupon={"percent": "10"}, minimum="80.00")
    discount(draft, percent="10")
    discount(draft, percent="10", line=the(draft, LineKind.USAGE))
    set_up(draft)
    lines = list(draft.lines.all())
    assert [line.position for line in lines] == list(range(7))
    assert [line.kind for line in lines] == [
        *("base_fee", "usage", "one_off"),
        *("discount", "discount", "discount"),
        "minimum",
    ]
    assert [line.details.get("on") for line in lines[3:6]] == ["line", None, "all"]


def test_an_edit_makes_the_tax_open_again(draft: Invoice) -> None:
    Invoice.objects.filter(pk=draft.pk).update(tax=77, tax_name="VAT", tax_percent=19, tax_reference="taxcalc_1")
    set_up(draft)
    edited = Invoice.objects.get(pk=draft.pk)
    assert (edited.tax, edited.tax_name, edited.tax_percent, edited.tax_reference) == (None, "", None, "")
    assert edited.total == edited.subtotal == 15000


@pytest.mark.parametrize(
    ("quantity", "unit_amount", "pointer"),
    [(0, "1.00", "/quantity"), (1, "-1.00", "/unit_amount"), (10**9, "10000000", "/unit_amount")],
)
def test_what_a_line_cannot_be(draft: Invoice, quantity: int, unit_amount: str, pointer: str) -> None:
    with pytest.raises(InvalidLine) as refused:
        set_up(draft, unit_amount, quantity)
    assert refused.value.errors[0][0] == pointer
    assert lines_of(draft) == [("base_fee", "", 4900), ("usage", "enterprise", 100)]


def test_the_largest_line_is_taken_to_the_cent(draft: Invoice) -> None:
    assert set_up(draft, "0.01", LARGEST_AMOUNT).amount == LARGEST_AMOUNT
    with pytest.raises(InvalidLine):
        set_up(draft, "0.01", LARGEST_AMOUNT + 1)


def test_an_invoice_has_so_many_lines_and_no_more() -> None:
    full = draft_one_off(acme(), [OneOff("Licence", 1, Decimal(1))] * MOST_LINES, now=NOON)
    with pytest.raises(TooManyLines):
        set_up(full)
    assert full.lines.count() == MOST_LINES


# Discounts


def test_a_percentage_of_the_whole_is_divided_among_the_lines(draft: Invoice) -> None:
    line = discount(draft, percent="12.5")
    assert line.amount == -625
    assert line.details["explanation"] == "12.5% off 50.00 = -6.25 USD"
    assert sorted(allocation_of(line).values()) == [-613, -12]
    assert subtotal_of(draft) == 5000 - 625
    assert_books_balance()


def test_a_discount_on_one_line_takes_from_that_line_alone(draft: Invoice) -> None:
    base = the(draft, LineKind.BASE_FEE)
    line = discount(draft, amount="9.00", line=base)
    assert allocation_of(line) == {base.pk: -900}
    assert lines_of(draft)[-1] == ("discount", "", -900)


def test_a_discount_is_reckoned_on_what_others_have_left(draft: Invoice) -> None:
    usage = the(draft, LineKind.USAGE)
    assert [discount(draft, percent="50", line=usage).amount for _ in range(2)] == [-50, -25]
    assert discount(draft, percent="10").amount == -493  # of 49.25, half a cent away from zero


def test_a_discount_takes_no_more_than_there_is(draft: Invoice) -> None:
    assert discount(draft, amount="3.00", line=the(draft, LineKind.USAGE)).amount == -100
    assert discount(draft, amount="1000.00").amount == -4900
    assert subtotal_of(draft) == 0
    with pytest.raises(NothingToDiscount):
        discount(draft, percent="100")


def test_what_a_coupon_has_taken_is_not_taken_again(settings: Any) -> None:
    draft = november(settings, coupon={"percent": "60", "applies_to": "usage"})
    assert discount(draft, percent="100", line=the(draft, LineKind.USAGE)).amount == -40
    assert subtotal_of(draft) == 4900


def test_a_bill_brought_down_to_a_maximum_is_discounted_from_there(settings: Any) -> None:
    draft = november(settings, enterprise=10, base_fee="0", maximum="2.00")
    assert draft.subtotal == 200
    assert discount(draft, percent="10").amount == -20
    assert discount(draft, percent="100", line=the(draft, LineKind.USAGE)).amount == -180
    assert subtotal_of(draft) == 0


@pytest.mark.parametrize(
    "reduction",
    [
        {},
        {"percent": "10", "amount": "1.00"},
        {"percent": "0"},
        {"percent": "100.1"},
        {"percent": "1.00001"},
        {"amount": "0"},
        {"amount": "1.005"},
        {"amount": "-1.00"},
    ],
)
def test_what_a_discount_cannot_be(draft: Invoice, reduction: dict[str, str]) -> None:
    with pytest.raises(InvalidReduction):
        discount(draft, **reduction)


def test_a_discount_is_not_discounted(draft: Invoice) -> None:
    with pytest.raises(NoSuchLine):
        discount(draft, percent="10", line=discount(draft, percent="10"))


AMOUNTS = st.integers(-10_000, 10_000)


@given(
    st.lists(st.tuples(st.sampled_from(["one_off", "usage", "maximum", "proration"]), AMOUNTS), max_size=6),
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 5),
            st.integers(1, 1_000_000).map(lambda n: {"percent": Decimal(n).scaleb(-4)})
            | st.integers(1, 20_000).map(lambda n: {"amount": Decimal(n).scaleb(-2)}),
        ),
        max_size=5,
    ),
)
def test_whatever_is_given_neither_a_line_nor_the_invoice_goes_below_zero_by_it(
    amounts: list[tuple[str, int]], given_discounts: list[tuple[int | None, dict[str, Decimal]]]
) -> None:
    invoice = Invoice(currency="USD")
    lines = [InvoiceLine(invoice=invoice, kind=kind, amount=amount) for kind, amount in amounts]
    for at, promised in given_discounts:
        before = sum(line.amount for line in lines)
        left = left_of(lines)
        target = lines[at].pk if at is not None and at < len(amounts) else None
        try:
            taken = discount_line(lines, Reduction(currency="USD", **promised), target)
        except NothingToDiscount:
            continue
        taken.invoice = invoice
        lines.append(taken)
        assert taken.amount == sum(allocation_of(taken).values()) < 0
        assert 0 <= before + taken.amount < before
        assert all(0 <= rest < left[line] for line, rest in left_of(lines).items() if rest != left[line])


# Taking back


def test_a_manual_line_is_removed_and_the_others_move_up(draft: Invoice) -> None:
    first, second = set_up(draft), set_up(draft, "5.00")
    remove_line(draft.pk, first.pk)
    assert lines_of(draft) == [("base_fee", "", 4900), ("usage", "enterprise", 100), ("one_off", "", 500)]
    assert draft.lines.get(pk=second.pk).position == 2
    assert subtotal_of(draft) == 5500


def test_a_line_with_a_discount_on_it_stays_until_that_is_gone(draft: Invoice) -> None:
    line = set_up(draft)
    given_discount = discount(draft, percent="10", line=line)
    with pytest.raises(LineNotRemovable, match="remove that first"):
        remove_line(draft.pk, line.pk)
    remove_line(draft.pk, given_discount.pk)
    remove_line(draft.pk, line.pk)
    assert subtotal_of(draft) == 5000


def test_what_was_agreed_is_not_removed(settings: Any) -> None:
    draft = november(settings, coupon={"percent": "60", "applies_to": "usage"})
    for line in draft.lines.all():
        with pytest.raises(LineNotRemovable, match="by hand"):
            remove_line(draft.pk, line.pk)


def test_a_line_of_another_invoice_is_not_found(draft: Invoice) -> None:
    start = Invoice.objects.get(kind=InvoiceKind.START)
    with pytest.raises(NoSuchLine):
        remove_line(draft.pk, set_up(start).pk)


# Until it is finalized


def test_a_finalized_invoice_is_edited_no_more(draft: Invoice) -> None:
    line = set_up(draft)
    finalize_invoice(draft.pk, now=DUE)
    for edit in (
        lambda: set_up(draft),
        lambda: discount(draft, percent="10"),
        lambda: remove_line(draft.pk, line.pk),
    ):
        with pytest.raises(InvoiceAlreadyFinalized):
            edit()
    assert_books_balance()


def test_a_top_up_is_sold_for_what_it_is_worth(draft: Invoice) -> None:
    top_up = Invoice.objects.create(
        customer=acme(),
        kind=InvoiceKind.TOP_UP,
        currency="USD",
        period_start=NOON,
        period_end=NOON,
        counted_at=NOON,
        created_at=NOON,
    )
    with pytest.raises(InvoiceNotEditable):
        discount(top_up, percent="10")


def test_an_edited_draft_is_finalized_with_what_was_added(draft: Invoice) -> None:
    set_up(draft)
    discount(draft, percent="50")
    finalized = finalize_invoice(draft.pk, now=DUE)
    assert (finalized.subtotal, finalized.amount_due) == (7500, 7500)
    assert_books_balance()


def test_an_edit_that_was_faster_than_finalizing_is_on_the_bill(sessions: Sessions, settings: Any) -> None:
    draft = november(settings)
    with transaction.atomic():
        set_up(draft)
        finalizing = sessions.start(lambda: finalize_invoice(draft.pk, now=DUE))
        wait_until_blocked()
    assert finalizing.result(30).subtotal == 15000
    assert_books_balance()


def test_an_edit_that_comes_while_it_is_finalized_is_refused(sessions: Sessions, settings: Any) -> None:
    draft = november(settings)
    with transaction.atomic():
        finalize_invoice(draft.pk, now=DUE)
        editing = sessions.start(lambda: set_up(draft))
        wait_until_blocked()
    with pytest.raises(InvoiceAlreadyFinalized):
        editing.result(30)
    assert lines_of(draft) == [("base_fee", "", 4900), ("usage", "enterprise", 100)]
    assert_books_balance()


def test_two_edits_at_once_are_both_there(sessions: Sessions, settings: Any) -> None:
    draft = november(settings)
    sessions.all([lambda: set_up(draft)] * 8)
    assert subtotal_of(draft) == 5000 + 8 * 10000
    assert sorted(draft.lines.values_list("position", flat=True)) == list(range(10))
