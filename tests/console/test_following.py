"""An operator follows a conversation from its events to its invoice line and back."""

import pytest
from django.urls import reverse

from billing.models import Invoice
from metering.corrections import amend_event, void_event
from metering.models import Conversation, LateChange
from plans.customers import create_customer
from tests.cast import LATER, NOON, acme, at, cleo, report, send, settled, the_settled, the_sitting
from tests.console.test_access import row_url

HOSTILE = "<script>alert('x')</script>&amp;\"onload=\"/../?#%00"


def read(client, url, **query):
    answer = client.get(url, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def read_conversation(client, conversation=None):
    return read(client, reverse("conversation", args=[(conversation or the_sitting()).id]))


def test_a_conversation_says_why_it_is_in_its_tier(desk, talked):
    body = read_conversation(desk)
    assert "5 turns and 5,000 tokens, which is standard: simple needs fewer than 4 turns" in body
    assert "default version 1, counting processed tokens" in body
    assert "2 turns fewer and 1 token fewer" in body


def test_the_event_that_crossed_the_limit_is_marked(desk, talked):
    body = read_conversation(desk)
    marked = body[body.index("console-crossing") :]
    assert body.count("crossed the limit") == 1
    assert marked.index(">e4<") < marked.index("crossed the limit") < marked.index(">e5<")


def test_unpriced_is_never_zero(desk, talked):
    body = read_conversation(desk)
    assert body.count(">unpriced") == 6  # five calls and their conversation
    assert "0.00 USD" not in body
    assert "unpriced" in read(desk, reverse("conversations"))


def test_a_billed_conversation_leads_to_its_line_and_invoice(desk, invoice):
    body = read_conversation(desk)
    assert row_url(invoice) in body
    assert invoice.number in body
    assert "1 standard conversation: 1 x 0.05 = 0.05 USD" in body
    assert "0.05 USD each (growth version 1)" in body


def test_an_invoice_leads_to_the_conversations_counted_on_it(desk, invoice):
    body = read(desk, row_url(invoice))
    (link,) = {part.split('"')[0] for part in body.split('href="') if part.startswith("/admin/conversations/?customer")}
    listed = desk.get(link.replace("&amp;", "&")).context["rows"]
    assert [row.reference for row in listed] == ["chat"]


def test_an_invoice_shows_its_money_in_major_units(desk, invoice):
    body = read(desk, row_url(invoice))
    assert "49.05 USD" in body
    assert "1 standard conversation" in body
    assert "receivable" in body
    assert "Collection through Stripe" in body


def test_a_conversation_not_billed_says_so(desk, talked):
    assert "has not been invoiced yet" in read_conversation(desk)


def test_an_open_conversation_is_explained_as_if_it_settled_now(desk, db):
    acme()
    send([report()])
    body = read_conversation(desk)
    assert "open; shown as if it settled now" in body
    assert "It is open." in body


def test_an_event_shows_what_it_said_before(desk, talked):
    amend_event(acme(), "e1", {"input_tokens": 7}, reason="The counter was wrong", now=LATER)
    body = read(desk, reverse("event"), customer="acme", id="e1")
    assert "The counter was wrong" in body
    assert "input_tokens: 900 → 7" in body
    assert reverse("conversation", args=[the_sitting().id]) in body


def test_a_void_event_counts_in_no_sitting(desk, talked):
    void_event(acme(), "e5", reason="A test call", now=LATER)
    body = read(desk, reverse("event"), customer="acme", id="e5")
    assert "A test call" in body
    assert "counts in no sitting" in body
    assert "console-void" in read_conversation(desk)


def test_a_list_holds_only_what_was_asked_for(desk, talked):
    cleo()
    send([report("c1", customer="cleo", conversation="other")])
    for query, expected in (
        ({"customer": "cleo"}, ["other"]),
        ({"state": "settled"}, ["chat"]),
        ({"state": "open"}, ["other"]),
        ({"tier": "simple"}, []),
        ({"tier": the_settled().tier}, ["chat"]),
        ({"settled_from": NOON.isoformat()}, ["chat"]),
        ({"settled_to": LATER.isoformat()}, ["chat"]),
        ({"customer": "cleo", "settled_from": NOON.isoformat()}, []),
        ({"reference": "other"}, ["other"]),
        ({"customer": "acme", "settled_from": LATER.isoformat()}, []),
        ({"customer": "acme", "settled_from": NOON.isoformat(), "settled_to": LATER.isoformat()}, ["chat"]),
    ):
        rows = desk.get(reverse("conversations"), query).context["rows"]
        assert [row.reference for row in rows] == expected, query


def test_long_lists_are_read_page_by_page(desk, db):
    acme()
    send([report(f"e{number}", conversation=f"chat {number}") for number in range(120)])
    seen, url = [], reverse("conversations")
    while url:
        context = desk.get(url).context
        seen += [row.reference for row in context["rows"]]
        url = context["next"] and reverse("conversations") + context["next"]
    assert len(seen) == len(set(seen)) == 120


def test_settled_conversations_of_a_customer_are_paged_by_settling_instant(desk, db):
    acme()
    send([report(f"e{number}", number, conversation=f"chat {number}") for number in range(60)])
    settled()
    query = {"customer": "acme", "settled_from": NOON.isoformat()}
    first = desk.get(reverse("conversations"), query).context
    second = desk.get(reverse("conversations") + first["next"]).context
    references = [row.reference for row in (*first["rows"], *second["rows"])]
    assert references == [f"chat {number}" for number in reversed(range(60))]


def test_events_are_listed_by_time_within_a_conversation(desk, talked):
    rows = desk.get(reverse("events"), {"customer": "acme", "conversation": "chat"}).context["rows"]
    assert [row.event_id for row in rows] == ["e1", "e2", "e3", "e4", "e5"]


def test_late_changes_name_the_customer(desk, db):
    LateChange.objects.create(customer=acme(), day=NOON.date(), noted_at=LATER)
    assert "2026-11-02" in read(desk, reverse("late_changes"))


@pytest.mark.parametrize(
    "query", ["customer=nobody", "settled_from=yesterday", "settled_to=0001-01-01T00:00%2B23:00", "state=odd"]
)
def test_a_filter_that_cannot_be_is_named(desk, db, query):
    body = read(desk, f"{reverse('conversations')}?{query}")
    assert "errorlist" in body


@pytest.mark.parametrize("cursor", ["x", "eyJ9", "%00"])
def test_a_cursor_of_nobodys_is_a_bad_request(desk, db, cursor):
    assert desk.get(f"{reverse('conversations')}?cursor={cursor}").status_code == 400


@pytest.mark.parametrize("query", ["", "customer=acme", "customer=acme&id=no"])
def test_an_event_nobody_has_is_not_found(desk, db, query):
    assert desk.get(f"{reverse('event')}?{query}").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "/admin/conversations/?customer=%00",
        "/admin/events/one/?customer=%00&id=%00",
        "/admin/billing/invoice/?status__exact=%00",
        "/admin/billing/stripeevent/a%00/change/",
    ],
)
def test_a_nul_finds_nothing(desk, db, url):
    assert desk.get(url).status_code == 400


def test_names_and_references_are_inert(desk, db):
    create_customer(key="acme", name=HOSTILE, currency="USD", now=NOON)
    send([report(HOSTILE, conversation=HOSTILE, model=HOSTILE, provider=HOSTILE)])
    void_event(acme(), HOSTILE, reason=HOSTILE, now=LATER)
    send([report(f"{HOSTILE}2", 1, conversation=HOSTILE)])
    sitting = Conversation.objects.get()
    for url, query in (
        (reverse("conversations"), {"reference": HOSTILE}),
        (reverse("conversation", args=[sitting.id]), {}),
        (reverse("events"), {"customer": "acme", "conversation": HOSTILE}),
        (reverse("event"), {"customer": "acme", "id": HOSTILE}),
        (row_url(acme()), {}),
        ("/admin/metering/correction/", {}),
    ):
        body = read(desk, url, **query)
        assert "<script>alert" not in body, url
        assert '"onload="' not in body, url


@pytest.mark.parametrize("path", ["/admin/conversations/", "/admin/events/?customer=acme", "/admin/plans/customer/"])
def test_a_longer_list_takes_no_more_queries(desk, db, django_assert_max_num_queries, path):
    acme()
    send([report(f"e{number}", number, conversation=f"chat {number}") for number in range(40)])
    for number in range(20):
        create_customer(key=f"customer {number}", currency="USD", now=NOON)
    with django_assert_max_num_queries(8):
        assert desk.get(path).status_code == 200


def test_money_takes_no_more_queries(desk, invoice, django_assert_max_num_queries):
    assert Invoice.objects.count() == 2
    with django_assert_max_num_queries(18):
        read(desk, row_url(invoice))
    with django_assert_max_num_queries(7):
        read(desk, "/admin/billing/invoice/")
    with django_assert_max_num_queries(7):
        read(desk, "/admin/billing/transfer/")


def test_a_conversation_page_takes_no_query_an_event(desk, db, django_assert_max_num_queries):
    acme()
    send([report(f"e{number}", at(number / 100)) for number in range(300)])
    with django_assert_max_num_queries(20):
        read_conversation(desk)
