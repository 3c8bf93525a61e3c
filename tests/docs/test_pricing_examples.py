"""Every fenced block of docs/pricing.md, run through the functions that make real bills."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from plans.money import format_amount
from tests.billing.stripe_desk import Desk, open_desk, start_stripe  # noqa: F401
from tests.docs import bills, figures
from tests.docs.page import MONEY, Block, arrows, blocks, matched, minor, normal, terms, text
from tests.docs.stories import Story

CALCULATED: dict[str, Callable[[Block], list[str]]] = {
    "terms": bills.the_terms,
    "refused": bills.refused,
    "bill": bills.bill,
    "adjustment": bills.adjustment,
    "months": bills.months,
    "rounding": figures.rounding,
    "periods": figures.periods,
    "share": figures.share,
    "counting": figures.counting,
    "tax": figures.tax,
    "tax-back": figures.tax_back,
    "division": figures.division,
    "burning": figures.burning,
}
PLAYED = {"story", "stripe"}
TOLD_AS_IT_IS = {"terms"}
"""Blocks that only say what was agreed; a changed figure of theirs changes those that use them."""


def examples(*kinds: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{number}-{block.kind}-{block.name}")
        for number, block in enumerate(blocks())
        if block.kind in kinds
    ]


@pytest.mark.parametrize("block", examples(*CALCULATED))
def test_an_example_of_the_page_is_true(block: Block) -> None:
    assert CALCULATED[block.kind](block) == block.lines


@pytest.mark.django_db
@pytest.mark.parametrize("block", examples("story"))
def test_a_story_of_the_page_is_true(block: Block, settings: Any) -> None:
    assert [normal(line) for line in Story(settings).play(block)] == block.lines


@pytest.mark.parametrize("block", examples("stripe"))
def test_what_the_page_says_of_stripe_is_true(block: Block, desk: Desk) -> None:
    customer = desk.acme_with_card()

    def collected(question: str) -> str:
        invoice = desk.invoice(customer, minor(*matched(rf"invoice of ({MONEY}) USD", question)))
        before = sum(desk.charges_of(customer))
        desk.collect()
        desk.deliver()
        invoice.refresh_from_db()
        charged = sum(desk.charges_of(customer)) - before
        return f"charged {format_amount(charged, 'USD')}, {invoice.status}"

    assert list(arrows(block.lines, collected)) == block.lines


def test_every_block_is_run_none_is_left_open_and_every_kind_is_in_use() -> None:
    assert {block.kind for block in blocks()} == set(CALCULATED) | PLAYED
    assert text().count("```") == 2 * len(blocks())


def test_the_table_of_contents_names_every_chapter_in_its_order() -> None:
    listed = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", text().partition("## Contents")[2].partition("\n## ")[0])
    chapters = re.findall(r"^## (.+)$", text(), re.MULTILINE)
    assert listed == [(chapter, anchor(chapter)) for chapter in chapters if chapter != "Contents"]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def misprints() -> Iterator[Any]:
    """Every block that is calculated, with the last figure of each of its answers in turn another one."""
    for number, block in enumerate(blocks()):
        if block.kind not in CALCULATED or block.kind in TOLD_AS_IT_IS:
            continue
        for index, line in enumerate(block.lines):
            if line.startswith(bills.GIVEN) or not re.search(r" (->|=) |^total |, hands on |^adjustment|^due ", line):
                continue
            lines = [*block.lines[:index], misprinted(line), *block.lines[index + 1 :]]
            yield pytest.param(block._replace(lines=lines), id=f"{number}-{block.kind}-{index}")


def misprinted(line: str) -> str:
    question, arrow, answer = line.rpartition(" -> ")
    figures_in_it = [found.start() for found in re.finditer(r"\d", answer)]
    if not figures_in_it:
        return f"{line}s"
    last = figures_in_it[-1]
    return f"{question}{arrow}{answer[:last]}{(int(answer[last]) + 1) % 10}{answer[last + 1 :]}"


@pytest.mark.parametrize("block", list(misprints()))
def test_a_changed_figure_of_the_page_is_noticed(block: Block) -> None:
    assert CALCULATED[block.kind](block) != block.lines


@pytest.mark.django_db
@pytest.mark.parametrize(
    "line",
    ["2026-11-01  subscribes to small, twice", "2026-11-01  gets rich", "2026-11-01  subscribes to nothing"],
)
def test_a_story_that_is_not_understood_fails(line: str, settings: Any) -> None:
    with pytest.raises((AssertionError, ValueError)):
        list(Story(settings).play(Block("story", "", [line])))


@pytest.mark.django_db
def test_a_story_says_what_is_invoiced_and_not_what_the_page_says(settings: Any) -> None:
    told = Story(settings).play(Block("story", "", ["2026-11-01  subscribes to small", "invoice 1: 31.00"]))
    assert [normal(line) for line in told] == [
        "2026-11-01  subscribes to small",
        "invoice 1, start: Small, base fee 01 Nov 2026 to 30 Nov 2026  30.00",
    ]


@pytest.mark.parametrize("line", ["1 + 1 = 3", "10 / 3 = 3.33", "10 / 3 = 4 rounded down", "a + 1 = 2", "two = 2"])
def test_a_sum_that_is_wrong_or_not_understood_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        assert figures.equation(line) == line


def test_the_example_of_the_field_bills_65_00() -> None:
    counts = {"simple": 1200, "standard": 300, "complex": 40, "enterprise": 2}
    bill = bills.whole_month(terms("growth"), counts)
    assert [priced.amount for priced in bill.usage[0]] == [
        Decimal("4.00"),
        Decimal("5.00"),
        Decimal("6.00"),
        Decimal("1.00"),
    ]
    assert format_amount(bill.total, "USD") == "65.00"
