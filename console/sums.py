"""How does an invoice come to what is due, and a credit note to where it went? Every figure with what explains it."""

from collections.abc import Iterator

from django.conf import settings
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.models import Account, AccountKind, CreditNote, Invoice, InvoiceStatus, TaxRate, Transfer
from console.amounts import money, percentage
from console.links import link, row_link, row_url, rows_url
from console.tables import table
from plans.models import TaxExempt

Row = tuple[SafeString | str, str, SafeString | str]
"""What it is, how much, and what explains it."""
UNKNOWN = "not known yet"
HEADS = ("", "Amount", "Because of")


def sum_of(invoice: Invoice) -> SafeString:
    """From the lines of an invoice to what is still to be paid."""
    rows = [("Subtotal", money(invoice.subtotal, invoice.currency), "the lines below"), _tax(invoice)]
    if invoice.status == InvoiceStatus.DRAFT:
        rows.append(("Total and amount due", UNKNOWN, "tax and credit are taken when it is finalized"))
    else:
        rows += [*_settled(invoice), *_corrected(invoice)]
    return table(HEADS, rows, numbers=("Amount",))


def settling_of(note: CreditNote) -> SafeString:
    """What a credit note takes back, and where that went."""
    currency = note.currency
    rows: list[Row] = [
        ("Without tax", money(note.net, currency), "the lines below"),
        ("Tax", money(note.tax, currency), ""),
        (_strong("Total"), money(note.total, currency), ""),
        ("Off what was due", money(note.off_due, currency), row_link(note.invoice)),
        ("Refunded through Stripe", money(note.refunded, currency), note.refund_status),
        ("To the credit balance", money(note.credited, currency), row_link(note.customer)),
    ]
    return table(HEADS, rows, numbers=("Amount",))


def where_it_went(note: CreditNote) -> str:
    """In one line: "5.00 USD off what was due, 7.00 USD refunded"."""
    ways = ((note.off_due, "off what was due"), (note.refunded, "refunded"), (note.credited, "to the balance"))
    return ", ".join(f"{money(minor, note.currency)} {way}" for minor, way in ways if minor)


def _tax(invoice: Invoice) -> Row:
    if invoice.tax is None:
        waits = "" if invoice.finalize_at is None else f"Stripe is asked at {invoice.finalize_at:%Y-%m-%d %H:%M} UTC"
        return "Tax", UNKNOWN, waits or "it is worked out when the invoice is finalized"
    percent = "" if not invoice.tax_percent else f" {percentage(invoice.tax_percent)}"
    name = f"{invoice.tax_name or 'Tax'}{percent}"
    contained = " (contained in the subtotal)" if invoice.tax_inclusive else ""
    return name + contained, money(invoice.tax, invoice.currency), _why_taxed(invoice)


def _strong(text: str) -> SafeString:
    return format_html("<strong>{}</strong>", text)


def _why_taxed(invoice: Invoice) -> SafeString | str:
    if invoice.tax_reference:
        return f"Stripe Tax, calculation {invoice.tax_reference}"
    if invoice.tax_percent:
        countries = f"{invoice.customer.country}," if invoice.customer.country else ","
        return link(rows_url(TaxRate, country__in=countries), "tax rates of the country")
    exempt = TaxExempt(invoice.customer.tax_exempt)
    if exempt != TaxExempt.NONE and settings.TAX != "none":
        return row_link(invoice.customer, f"the customer {exempt.label}")
    return "no tax"


def _settled(invoice: Invoice) -> Iterator[Row]:
    currency = invoice.currency
    yield _strong("Total"), money(invoice.total, currency), ""
    if invoice.total < 0:
        yield "To the credit balance", money(-invoice.total, currency), _credit_account(invoice)
    else:
        yield "Prepaid credit", money(-invoice.prepaid_applied, currency), _prepaid(invoice)
        why = _credit_account(invoice) if invoice.credit_applied else ""
        yield "Credit balance", money(-invoice.credit_applied, currency), why
    yield _strong("Amount due"), money(invoice.amount_due, currency), ""


def _prepaid(invoice: Invoice) -> SafeString | str:
    """The grants that paid, with how much; also where a void has given it back since."""
    if not invoice.prepaid_applied:
        return ""
    drawn = Transfer.objects.filter(
        invoice=invoice, debit__kind=AccountKind.GRANT, credit__kind=AccountKind.RECEIVABLE
    ).select_related("debit__grant")
    links = [(row_link(draw.debit.grant), money(draw.amount, invoice.currency)) for draw in drawn.order_by("id")]
    return format_html_join(", ", "{} {}", links)


def _credit_account(invoice: Invoice) -> str:
    account = Account.objects.filter(
        customer=invoice.customer_id, currency=invoice.currency, kind=AccountKind.CREDIT
    ).first()
    return row_link(account, "what we owed the customer")


def _corrected(invoice: Invoice) -> Iterator[Row]:
    """What credit notes did, and what remains; nothing where there is none."""
    notes = list(CreditNote.objects.filter(invoice=invoice).order_by("id"))
    if not notes:
        return
    taken_back = money(-sum(note.total for note in notes), invoice.currency)
    label = "Credit notes, void as it is" if invoice.status == InvoiceStatus.VOID else "Credit notes"
    yield label, taken_back, format_html_join(", ", '<a href="{}">{}</a>', [(row_url(n), n) for n in notes])
    if invoice.status == InvoiceStatus.FINALIZED:
        rest = invoice.amount_due - sum(note.off_due for note in notes)
        yield _strong("Still to be paid"), money(rest, invoice.currency), ""
