"""What is there to see? Lists with cursors, retrieval, search by metadata, and `expand`."""

import re
from collections.abc import Callable
from typing import Any

from sandbox import stripe_credit_notes as credit_notes
from sandbox.stripe_desk import LINES_SHOWN, Desk, Params, page
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Cursor, Object

MOST = 100
MAX_EXPAND_LEVELS = 4
HANDLED = {"created", "ending_before", "expand", "limit", "starting_after"}
CONDITION = re.compile(r"""^(metadata\[["']([^"']+)["']\]|[a-z_]+)\s*:\s*["']([^"']*)["']$""")


def retrieve(noun: str) -> Callable[..., Object]:
    """The operation that reads one object of that kind."""

    def read(desk: Desk, params: Params, *path: str) -> Object:
        return desk.need(noun, path[-1])

    return read


def listing(noun: str, url: str, *filters: str, owner: str = "") -> Callable[..., Object]:
    """The operation that lists a kind, newest first. `owner`: the field that the id in the address is compared with."""

    def read(desk: Desk, params: Params, *path: str) -> Object:
        for name in params.keys() - HANDLED - set(filters):
            raise not_played(f"the filter {name}", name)
        where = {name: value for name, value in params.items() if name in filters}
        if owner:
            where[owner] = desk.need(owner, path[0])["id"]
        return _page(desk, noun, where, params, url.format(*path))

    return read


def invoice_lines(desk: Desk, params: Params, invoice: str) -> Object:
    """Lines come in the order they were added."""
    desk.need("invoice", invoice)
    return _cut(desk.lines_of(invoice), params, f"/v1/invoices/{invoice}/lines")


def credit_note_lines(desk: Desk, params: Params, note: str) -> Object:
    return _cut(desk.need("credit_note", note)["lines"], params, f"/v1/credit_notes/{note}/lines")


def preview_lines(desk: Desk, params: Params) -> Object:
    return _cut(credit_notes.preview_lines(desk, params), params, "/v1/credit_notes/preview/lines")


def tax_lines(noun: str, url: str) -> Callable[..., Object]:
    """The operation that lists the line items of a calculation or transaction."""

    def read(desk: Desk, params: Params, wanted: str) -> Object:
        things = desk.need(noun, wanted)["line_items"]
        return _cut(_detailed(things, "data.tax_breakdown", params.get("expand", [])), params, url.format(wanted))

    return read


def invoice_payments(desk: Desk, params: Params) -> Object:
    where: Params = {name: params[name] for name in ("invoice", "status") if name in params}
    if "payment" in params:
        where["payment.payment_intent"] = params["payment"].get("payment_intent", "")
    return _page(desk, "invoice_payment", where, params, "/v1/invoice_payments")


def events(desk: Desk, params: Params) -> Object:
    if "delivery_success" in params:
        raise not_played("the filter delivery_success", "delivery_success")
    wanted = params.get("types") or params.get("type")
    return _page(desk, "event", {"type": wanted} if wanted else {}, params, "/v1/events")


def search(noun: str, url: str) -> Callable[..., Object]:
    """Stripe's search, as far as equality goes: `metadata["key"]:"value" AND status:"open"`."""

    def read(desk: Desk, params: Params) -> Object:
        things = [thing for thing in reversed(desk.store.find(noun)) if not thing.get("deleted")]
        for condition in params["query"].split(" AND "):
            parsed = CONDITION.match(condition.strip())
            if parsed is None:
                raise not_played(f"the search {condition!r}", "query")
            name, key, value = parsed[1], parsed[2], parsed[3]
            if key:
                things = [t for t in things if t.get("metadata", {}).get(key) == value]
            else:
                things = [t for t in things if str(t.get(name)) == value]
        limit = _limit(params)
        shown = [desk.shown(thing) for thing in things[:limit]]
        return {
            "object": "search_result",
            "data": shown,
            "has_more": len(things) > limit,
            "next_page": None,
            "url": url,
        }

    return read


def _limit(params: Params) -> int:
    limit: int = params.get("limit", 10)
    if not 1 <= limit <= MOST:
        raise Refusal(400, f"This value must be between 1 and {MOST} (it currently is '{limit}').", param="limit")
    return limit


def _page(desk: Desk, noun: str, where: Params, params: Params, url: str) -> Object:
    created = params.get("created", {})
    beside = params.get("starting_after") or params.get("ending_before") or ""
    if beside:
        desk.need(noun, beside, "starting_after" if "starting_after" in params else "ending_before")
    cursor = Cursor(_limit(params), beside, backwards="starting_after" not in params and bool(beside))
    things = desk.store.listed(
        noun,
        where,
        at=desk.now,
        created={"is": created} if isinstance(created, int) else created,
        cursor=cursor,
    )
    listed = page(things, cursor.limit, url)
    listed["data"] = [desk.shown(thing) for thing in listed["data"]]
    if cursor.backwards:
        listed["data"].reverse()
    return listed


def _cut(things: list[Object], params: Params, url: str) -> Object:
    """A page of things that stand in the order they were added."""
    places = {thing["id"]: place for place, thing in enumerate(things)}
    after, before = params.get("starting_after"), params.get("ending_before")
    for name, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor and cursor not in places:
            raise missing("line item", cursor, name)
    limit = _limit(params)
    if before:
        earlier = things[: places[before]]
        return {**page(earlier[-limit:], limit, url), "has_more": len(earlier) > limit}
    return page(things[places[after] + 1 if after else 0 :], limit, url)


# Expand


def expand(desk: Desk, answer: Object, paths: list[str]) -> Object:
    """The answer with ids replaced by their objects along paths such as `payments.data.payment.payment_intent`."""
    for path in sorted(paths, key=len, reverse=True):  # the deeper tells what the shallower brings
        if path.count(".") >= MAX_EXPAND_LEVELS:
            raise Refusal(
                400, f"You cannot expand more than {MAX_EXPAND_LEVELS} levels of a property: {path}", param="expand"
            )
        _expand(desk, answer, path.split("."), path)
    return answer


def _expand(desk: Desk, place: Any, steps: list[str], path: str) -> None:
    if isinstance(place, list):
        for item in place:
            _expand(desk, item, steps, path)
        return
    if not isinstance(place, dict) or not steps:
        return
    step, rest = steps[0], steps[1:]
    if step == "payments" and place.get("object") == "invoice" and step not in place:
        payments = desk.store.find("invoice_payment", {"invoice": place["id"]})
        place[step] = page(payments, 10, f"/v1/invoice_payments?invoice={place['id']}")
    if step == "line_items" and str(place.get("object")).startswith("tax.") and step not in place:
        place[step] = _tax_line_items(desk, place, rest)
    if step not in place:
        raise Refusal(400, f"This property cannot be expanded ({path}).", param="expand")
    if isinstance(place[step], str):
        found = desk.store.get(place[step])
        if found is None:
            raise Refusal(400, f"This property cannot be expanded ({path}).", param="expand")
        place[step] = desk.shown(found)
    _expand(desk, place[step], rest, path)


def _tax_line_items(desk: Desk, place: Object, rest: list[str]) -> Object:
    kept = desk.store.get(place["id"])
    assert kept is not None
    kind = place["object"].removeprefix("tax.")
    items = _detailed(kept["line_items"], "data.tax_breakdown", [".".join(rest)])
    return page(items, LINES_SHOWN, f"/v1/tax/{kind}s/{place['id']}/line_items")


def _detailed(lines: list[Object], path: str, wanted: list[str]) -> list[Object]:
    """The lines with their tax breakdown only where it is expanded."""
    if path in wanted:
        return lines
    return [{name: value for name, value in line.items() if name != "tax_breakdown"} for line in lines]
