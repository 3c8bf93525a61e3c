"""What would a person want to see? A plain page of customers, invoices, payments and deliveries."""

import json
from datetime import UTC, datetime
from html import escape

from sandbox.stripe_store import Object, Store

SHOWN = 100
ZERO_DECIMALS = {
    "bif",
    "clp",
    "djf",
    "gnf",
    "jpy",
    "kmf",
    "krw",
    "mga",
    "pyg",
    "rwf",
    "ugx",
    "vnd",
    "vuv",
    "xaf",
    "xof",
    "xpf",
}
THREE_DECIMALS = {"bhd", "jod", "kwd", "omr", "tnd"}
STYLE = (
    "body{font:14px system-ui;margin:2rem;max-width:75rem}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}"
    "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}.n{text-align:right}"
    "small{color:#666}"
)


def overview(store: Store, now: int) -> str:
    """The whole page as HTML; everything that came from outside is escaped."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Stripe stand-in</title><style>{STYLE}</style>"
        f"<h1>Stripe stand-in</h1><p>No money moves here. Its clock says {_moment(now)}."
        f" The newest {SHOWN} of each are shown.</p>"
        + _table("Customers", ("Customer", "Balance", "Charged", "Refunded"), _customers(store))
        + _table("Invoices", ("Invoice", "Customer", "Status", "Lines", "Total", "Due", "Paid"), _invoices(store))
        + _table("Payments", ("Charge", "Customer", "Status", "Amount", "Refunded", "At"), _charges(store))
        + _table(
            "Webhook deliveries",
            ("Event", "Type", "Attempts", "Last outcome", "Delivered"),
            _deliveries(store),
        )
    )


def money(amount: int, currency: str) -> str:
    """Minor units as people write them: 1050 usd is 10.50 USD, 1050 jpy is 1,050 JPY."""
    places = 0 if currency in ZERO_DECIMALS else 3 if currency in THREE_DECIMALS else 2
    whole, part = divmod(abs(amount), 10**places)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole:,}" + (f".{part:0{places}d}" if places else "") + f" {currency.upper()}"


def _newest(store: Store, kind: str) -> list[Object]:
    sql = "SELECT body FROM objects WHERE kind = ? ORDER BY seq DESC LIMIT ?"
    return [json.loads(row["body"]) for row in store.rows(sql, kind, SHOWN)]


def _customers(store: Store) -> list[tuple[str, ...]]:
    rows = []
    for customer in _newest(store, "customer"):
        if customer.get("deleted"):
            continue
        truth = store.charged(customer["id"])
        rows.append(
            (
                _named(customer["name"] or customer["email"] or "", customer["id"]),
                _text(money(customer["balance"], customer["currency"] or "usd")),
                *(
                    _text(", ".join(money(amount, currency) for currency, amount in truth[kind].items()))
                    for kind in ("charged", "refunded")
                ),
            )
        )
    return rows


def _invoices(store: Store) -> list[tuple[str, ...]]:
    rows = []
    for invoice in _newest(store, "invoice"):
        currency = invoice["currency"]
        lines = store.find("line_item", {"invoice": invoice["id"]})
        shown = "<br>".join(
            _text(f"{line['description'] or 'no description'}: {money(line['amount'], currency)}") for line in lines
        )
        amounts = (invoice[name] for name in ("total", "amount_due", "amount_paid"))
        rows.append(
            (
                _named(invoice["number"] or "draft", invoice["id"]),
                _named(invoice["customer_name"] or "", invoice["customer"]),
                _text(invoice["status"]),
                shown,
                *(f"<span class=n>{_text(money(amount, currency))}</span>" for amount in amounts),
            )
        )
    return rows


def _charges(store: Store) -> list[tuple[str, ...]]:
    return [
        (
            _named(charge["description"] or "", charge["id"]),
            _text(charge["customer"]),
            _text(charge["failure_message"] or charge["status"]),
            _text(money(charge["amount"], charge["currency"])),
            _text(money(charge["amount_refunded"], charge["currency"])),
            _moment(charge["created"]),
        )
        for charge in _newest(store, "charge")
    ]


def _deliveries(store: Store) -> list[tuple[str, ...]]:
    return [
        (
            _text(row["event"]),
            _text(row["type"]),
            str(row["attempts"]),
            _text(row["outcome"] or "waiting"),
            _moment(row["delivered_at"]) if row["delivered_at"] else "no",
        )
        for row in store.rows("SELECT * FROM deliveries ORDER BY rowid DESC LIMIT ?", SHOWN)
    ]


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _named(name: str, wanted: str) -> str:
    return f"{_text(name)} <small>{_text(wanted)}</small>"


def _text(value: object) -> str:
    return escape(str(value))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
