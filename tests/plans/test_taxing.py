"""Tax is a percentage, rounded once; what credit notes give back of it is never more than was charged."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.taxing import RefundsTooMuch, Tax, gross_of, net_of, refund_tax, tax_on

amounts = st.integers(-(10**15), 10**15) | st.integers(-200, 200)
percents = st.decimals(0, 100, places=4) | st.sampled_from([Decimal(p) for p in ("0", "19", "25", "33.3333", "100")])
taxes = st.builds(Tax, st.just("VAT"), percents, st.booleans())


def vat(percent: str, *, inclusive: bool = False) -> Tax:
    return Tax("VAT", Decimal(percent), inclusive)


@pytest.mark.parametrize(
    ("tax", "amount", "currency", "taxed"),
    [
        (vat("19"), 10_000, "EUR", 1_900),
        (vat("33.333"), 10_000, "USD", 3_333),
        (vat("50"), 1, "USD", 1),
        (vat("50"), -1, "USD", -1),
        (vat("10", inclusive=True), 60_000, "EUR", 5_455),
        (vat("21", inclusive=True), 1_000, "EUR", 174),
        (vat("100", inclusive=True), 1, "USD", 1),
        (vat("0", inclusive=True), 1_000, "EUR", 0),
        (vat("10"), 105, "JPY", 11),
        (vat("24"), 1_000, "ISK", 200),
        (vat("5"), 1_230, "KWD", 60),
    ],
)
def test_tax_is_rounded_half_away_to_what_can_be_charged(tax: Tax, amount: int, currency: str, taxed: int) -> None:
    assert tax_on(tax, amount, currency) == taxed


def test_an_exclusive_tax_is_added_and_an_inclusive_one_contained() -> None:
    assert (net_of(vat("25"), 800, "EUR"), gross_of(vat("25"), 800, "EUR")) == (800, 1_000)
    contained = vat("25", inclusive=True)
    assert (net_of(contained, 1_000, "EUR"), gross_of(contained, 1_000, "EUR")) == (800, 1_000)


@pytest.mark.parametrize("percent", ["-1", "100.0001", "19.00001", "NaN", "Infinity"])
def test_what_is_no_percentage_is_refused(percent: str) -> None:
    with pytest.raises(ValueError, match="percent"):
        vat(percent)


@given(taxes, amounts)
def test_tax_misses_the_exact_percentage_by_half_a_unit_at_most(tax: Tax, amount: int) -> None:
    percent = Fraction(tax.percent)
    exact = amount - amount / (1 + percent / 100) if tax.inclusive else amount * percent / 100
    nearest = (abs(exact) + Fraction(1, 2)).__floor__()
    assert tax_on(tax, amount, "USD") == (nearest if amount >= 0 else -nearest)
    assert tax_on(tax, -amount, "USD") == -tax_on(tax, amount, "USD")


@given(taxes, amounts, st.integers(0, 500))
def test_gross_is_net_and_tax_and_grows_with_the_amount(tax: Tax, amount: int, more: int) -> None:
    assert gross_of(tax, amount, "USD") - net_of(tax, amount, "USD") == tax_on(tax, amount, "USD")
    assert gross_of(tax, amount, "USD") <= gross_of(tax, amount + more, "USD")
    assert net_of(tax, amount, "USD") <= net_of(tax, amount + more, "USD")


@st.composite
def credit_notes(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """What an invoice came to, its tax, and the amounts of credit notes that give all of it back."""
    net = draw(st.integers(0, 10**9) | st.integers(0, 50))
    tax = tax_on(draw(taxes), net, "EUR")
    cuts = sorted(draw(st.lists(st.integers(0, net), max_size=8)))
    return net, tax, [end - start for start, end in zip([0, *cuts], [*cuts, net], strict=True)]


@given(credit_notes())
def test_credit_notes_of_the_whole_invoice_give_back_exactly_its_tax(invoice: tuple[int, int, list[int]]) -> None:
    net, tax, refunds = invoice
    done, returned = 0, 0
    for refunded in refunds:
        part = refund_tax(
            total_tax=tax, total_net=net, refunded_net=refunded, already_net=done, already_tax=returned, currency="EUR"
        )
        done, returned = done + refunded, returned + part
        assert part >= 0 and returned <= tax
        assert net == 0 or abs(returned - Fraction(tax * done, net)) <= Fraction(1, 2)
    assert (done, returned) == (net, tax)


@given(credit_notes(), st.data())
def test_so_they_do_when_one_of_them_was_taken_back(invoice: tuple[int, int, list[int]], data: st.DataObject) -> None:
    net, tax, refunds = invoice
    notes: list[tuple[int, int]] = []
    for refunded in refunds[:-1]:
        already = {"already_net": sum(note[0] for note in notes), "already_tax": sum(note[1] for note in notes)}
        notes.append(
            (refunded, refund_tax(total_tax=tax, total_net=net, refunded_net=refunded, currency="EUR", **already))
        )
        if len(notes) > 1 and data.draw(st.booleans()):
            notes.pop(data.draw(st.integers(0, len(notes) - 1)))
    already = {"already_net": sum(note[0] for note in notes), "already_tax": sum(note[1] for note in notes)}
    rest = net - already["already_net"]
    last = refund_tax(total_tax=tax, total_net=net, refunded_net=rest, currency="EUR", **already)
    assert last >= 0 and already["already_tax"] + last == tax


def test_a_credit_note_never_asks_for_tax() -> None:
    """Five notes of a cent, taxed 1, 0, 1, 0, 1; the second and the fourth are taken back, then comes a sixth."""
    notes = {"total_tax": 50, "total_net": 100, "refunded_net": 1, "currency": "EUR"}
    taxed = [refund_tax(already_net=net, already_tax=tax, **notes) for net, tax in enumerate((0, 1, 1, 2, 2))]
    assert taxed == [1, 0, 1, 0, 1]
    assert refund_tax(already_net=3, already_tax=3, **notes) == 0


def test_more_than_the_invoice_is_not_refunded() -> None:
    with pytest.raises(RefundsTooMuch):
        refund_tax(total_tax=250, total_net=1_000, refunded_net=301, already_net=700, already_tax=175, currency="EUR")
    for wrong in ({"total_net": -1, "refunded_net": -1}, {"total_net": 9, "refunded_net": -1}):
        with pytest.raises(ValueError, match="amount paid"):
            refund_tax(total_tax=0, currency="EUR", **wrong)
