import datetime as dt
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.invoice_pdf import invoice_pdf
from billing.invoice_statement import DoesNotAddUp, Party, Span, StatementTax, TierUsage
from tests.billing.printed import (
    ACME,
    BERLIN,
    FEE,
    INVOICE,
    NOVEMBER,
    SIMPLE,
    USAGE,
    laid_out,
    printed,
    read,
    with_lines,
)

HOSTILE = (
    '#import "x": *',
    '#read("/etc/passwd")',
    '#panic("boom")',
    "<script>alert(1)</script>",
    "file:///etc/passwd",
    '#image("http://evil.example/x.png")',
    '#import "@preview/cetz:0.3.0"',
    "$x$ *bold* _it_ @ref <label> `raw` \\u{41} // comment /* more",
    '"], "total": "0.00',
    "= Heading",
    "]#set page(width: 1pt)[",
)


def test_a_finance_department_finds_all_it_needs():
    text = printed(INVOICE)
    for wanted in (
        *("Parley Systems GmbH", "Ritterstraße 12", "Tax ID DE123456789", "billing@parley.example"),
        *("Acme Inc.", "1 Market Street", "France", "Tax ID FR12345678901", "Customer acme"),
        *("Invoice number INV-000002", "Date of issue 1 December 2026", "Due date 15 December 2026"),
        *("Billing period 1 Nov – 30 Nov 2026", "EUR 67.35 due on 15 December 2026"),
        *("Growth, base fee", "1 Dec – 31 Dec 2026", "1 49.00 49.00", "1,800 0.02 16.00", "Amount (EUR)"),
        *("Subtotal without tax 65.00", "VAT 19 % on 65.00 12.35", "Total with tax 77.35"),
        *("Prepaid credit −10.00", "Amount due 67.35", "INV-000002 page 1 of 1", "Thank you for your business."),
    ):
        assert wanted in text, wanted


def test_equal_invoices_are_equal_to_the_byte_whoever_prints_them():
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(invoice_pdf, [INVOICE] * 8))
    assert len(made) == 1
    assert made != {invoice_pdf(replace(INVOICE, number="INV-000003"))}


def test_the_file_is_archival_and_says_what_it_is_and_of_which_day():
    paper = read(INVOICE)
    assert (paper.metadata.title, paper.metadata.author) == ("Invoice INV-000002", "Parley Systems GmbH")
    assert paper.metadata.creation_date == dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    assert paper.xmp_metadata.pdfaid_part == "2"
    assert [round(float(edge) / 72 * 25.4) for edge in paper.pages[0].mediabox[2:]] == [210, 297]


def test_many_lines_run_over_numbered_pages_that_repeat_the_head():
    lines = [replace(USAGE, description=f"Line {place} of the list", amount=place) for place in range(300)]
    pages = [page.extract_text() for page in read(with_lines(*lines)).pages]
    assert len(pages) > 5
    for number, text in enumerate(pages, 1):
        assert f"INV-000002 page {number} of {len(pages)}" in text
        assert "Description Quantity Unit price Amount (EUR)" in text
    found = re.findall(r"Line (\d+) of the list", "\n".join(pages))
    assert found == [str(place) for place in range(300)]
    assert "Total 448.50" in pages[-1]


def test_amounts_end_under_each_other():
    lines = [replace(USAGE, amount=amount) for amount in (5, 123_456_789, -1600, 1_111_111)]
    rows = [line.rstrip() for line in laid_out(with_lines(*lines)) if re.search(r"0\.02 +−?[\d,]+\.\d\d$", line)]
    assert len(rows) == 4
    assert max(map(len, rows)) - min(map(len, rows)) <= 1  # the columns of the text are a little narrower than a digit


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [("JPY", 1_234_567, "1,234,567"), ("KWD", 1_234_560, "1,234.560"), ("USD", 7, "0.07"), ("EUR", -5, "−0.05")],
)
def test_amounts_have_the_decimals_of_their_currency(currency, amount, shown):
    text = printed(with_lines(replace(FEE, amount=amount, unit_amount=None), currency=currency, usage=()))
    assert f"Total {shown}" in text and f"Amount ({currency})" in text


def test_a_total_below_nothing_asks_for_nothing_and_says_where_it_goes():
    tax = StatementTax(name="VAT", percent=Decimal(19), amount=-304)
    text = printed(with_lines(replace(USAGE, amount=-1600), total=-1904, tax=tax, amount_due=0))
    for wanted in (
        "Nothing to pay",
        "VAT 19 % on −16.00 −3.04",
        "Added to your credit balance 19.04",
        "Amount due 0.00",
    ):
        assert wanted in text
    assert "Pay online" not in text


def test_inclusive_tax_is_shown_within_the_total():
    tax = StatementTax(name="VAT", percent=Decimal("8.1"), amount=487, inclusive=True)
    text = printed(with_lines(FEE, USAGE, tax=tax))
    assert "Total with tax 65.00" in text and "of which VAT 8.1 % 4.87" in text and "of which net 60.13" in text


def test_reverse_charge_is_explained():
    note = "Reverse charge: the recipient owes the tax."
    text = printed(with_lines(FEE, tax=StatementTax(name="VAT", percent=Decimal(0), amount=0, note=note)))
    assert "VAT 0 % on 49.00 0.00" in text and note in text


def test_a_draft_says_so_and_asks_for_nothing():
    draft = with_lines(FEE, number="", status="draft", issued_on=None, due_on=None, amount_due=0)
    text = printed(draft)
    assert text.count("DRAFT") == 2 and "Draft invoice page 1 of 1" in text
    assert "Tax is computed when the invoice is issued." in text
    assert "due" not in text.lower().replace("due date", "") and "Pay online" not in text


def test_a_void_invoice_says_so_and_a_paid_one_when():
    void = printed(replace(INVOICE, status="void"))
    paid = printed(replace(INVOICE, status="paid", paid_on=dt.date(2026, 12, 3)))
    assert void.count("VOID") == 2 and "due on" not in void and "Pay online" not in void
    for wanted in ("PAID", "EUR 67.35 paid on 3 December 2026", "Paid −67.35", "Left to pay 0.00"):
        assert wanted in paid


def test_a_credit_note_names_its_invoice_and_where_the_money_goes():
    note = with_lines(
        USAGE, number="INV-000002-CN-01", corrects="INV-000002", amount_due=0, refunded=1000, credited=600, usage=()
    )
    text = printed(note)
    for wanted in ("Credit note number INV-000002-CN-01", "Corrects invoice INV-000002", "EUR 16.00 credited"):
        assert wanted in text
    assert "Refunded 10.00" in text and "Added to your credit balance 6.00" in text


def test_tiers_show_what_happened_and_dashes_for_what_is_unknown():
    other = TierUsage(tier="standard@peak", conversations=3, turns=None, amount=None, included=0, overage=3)
    text = printed(replace(INVOICE, usage=(SIMPLE, other)))
    assert "simple 1,800 3,122 1,000 800 1,843,221 612,000 401,222 16.00" in text
    assert "standard@peak 3 – 0 3 – – – –" in text
    assert "Cache write" not in text


def test_moments_within_a_day_are_printed_with_their_zone():
    cut = Span(dt.datetime(2026, 11, 1, tzinfo=BERLIN), dt.datetime(2026, 11, 15, 8, 30, tzinfo=BERLIN))
    day = Span(dt.datetime(2026, 12, 31, tzinfo=BERLIN), dt.datetime(2027, 1, 1, tzinfo=BERLIN))
    text = printed(with_lines(replace(USAGE, period=cut), replace(FEE, period=day)))
    assert "1 Nov 2026 00:00 – 15 Nov 2026 08:30 (Europe/Berlin)" in text
    assert "\n31 Dec 2026\n" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_printed_and_nothing_else(text):
    party = Party(name=text, address=(text,), country=text, tax_id=text, email=text, key=text)
    statement = with_lines(
        replace(FEE, description=text), seller=party, buyer=party, notes=(text,), payment_url=text, number=text
    )
    paper = read(statement)
    shown = " ".join(page.extract_text() for page in paper.pages).replace("\n", " ")
    assert shown.replace(" ", "").count(text.replace(" ", "")) >= 12
    assert "Total 49.00" in shown
    assert not {"/OpenAction", "/AA", "/AcroForm"} & paper.trailer["/Root"].keys()
    assert not paper.attachments and not any(page.get("/Annots") for page in paper.pages)


def test_only_web_addresses_become_links():
    def links(url):
        notes = [note.get_object() for note in read(replace(INVOICE, payment_url=url)).pages[0].get("/Annots", [])]
        return {note["/A"]["/URI"] for note in notes}

    assert links("https://pay.example/i/1?a=b&c=d") == {"https://pay.example/i/1?a=b&c=d"}
    assert links("javascript:alert(1)") == links("file:///etc/passwd") == links(" data:text/html,x") == set()


def test_control_characters_and_turned_writing_do_no_harm():
    name = "Ac\x00me\r\n\tInc\x1b[31m \u202e00.1\u202c \ud800"
    assert "Ac me Inc [31m 00.1 \N{REPLACEMENT CHARACTER}" in printed(replace(INVOICE, buyer=replace(ACME, name=name)))


@pytest.mark.parametrize(
    "name", ["日本株式会社", "😀🎉", "مرحبا بالعالم", "שלום עולם", "Ελλάδα Болгария", "\U0010ffff"]
)
def test_every_script_is_taken_and_the_rest_of_the_invoice_stays(name):
    made = replace(INVOICE, buyer=replace(ACME, name=name))
    assert "Amount due 67.35" in printed(made)
    assert invoice_pdf(made) == invoice_pdf(made)


def test_a_folder_of_further_fonts_changes_nothing_where_they_are_not_needed(tmp_path):
    assert invoice_pdf(INVOICE, fonts=tmp_path) == invoice_pdf(INVOICE)


def test_long_names_are_broken_and_run_over_nothing():
    long = "k" * 512
    made = with_lines(
        replace(FEE, description=long),
        buyer=Party(name=long, address=(long,), key=long, email=f"{long}@acme.example"),
        usage=(replace(SIMPLE, tier="t" * 64, input_tokens=10**15, output_tokens=10**15),),
        payment_url=f"https://pay.example/{long}",
    )
    widest = max(len(run) for line in laid_out(made) for run in re.findall(r"k+", line))
    assert 20 < widest < 120
    assert "1 49.00 49.00" in printed(made) and "1,000,000,000,000,000" in printed(made)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subtotal": 6501},
        {"total": 7736},
        {"amount_due": 6736},
        {"prepaid_applied": 999},
        {"prepaid_applied": -1000, "credit_applied": 2000},
        {"tax": None},
        {"corrects": "INV-000001"},
    ],
)
def test_what_does_not_add_up_is_not_printed(wrong):
    with pytest.raises(DoesNotAddUp):
        invoice_pdf(replace(INVOICE, **wrong))


def test_printing_is_fast():
    lines = [replace(USAGE, description=f"Line {place}", period=NOVEMBER) for place in range(300)]
    invoice_pdf(INVOICE)
    for statement, most_s in ((replace(INVOICE, number="INV-000009"), 0.25), (with_lines(*lines), 0.5)):
        started = time.process_time()
        invoice_pdf(statement)
        assert time.process_time() - started < most_s


@settings(max_examples=40)
@given(text=st.text(st.characters(exclude_categories=()), max_size=60), amount=st.integers(-(10**15), 10**15))
def test_any_text_and_any_amount_can_be_printed(text, amount):
    party = Party(name=text, address=(text,), country=text, tax_id=text, email=text, key=text)
    made = with_lines(replace(FEE, amount=amount, description=text), buyer=party, notes=(text,))
    assert f"Total {Decimal(amount).scaleb(-2):,f}".replace("-", "−") in printed(made)
