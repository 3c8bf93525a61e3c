"""An operator sees why something cannot be billed, assigns what is missing, replays it or discards it."""

import pytest
from django.contrib.auth.models import Permission, User

from console.links import row_url, rows_url
from metering.catching_up import fold_waiting
from metering.models import Backfill, Event, QuarantinedEvent
from metering.quarantine import Unusable, keep_unusable
from tests.cast import LATER, NOON, acme, report, send, the_sitting
from tests.console.conftest import sign_in
from tests.console.test_following import read
from tests.metering.backfills import a_file, ndjson, sent, store, undo
from tests.metering.test_quarantine_review import WITHOUT_CONVERSATION

pytestmark = pytest.mark.django_db
LIST = rows_url(QuarantinedEvent)


def a_span(number: int = 0, reason: str = "no conversation") -> QuarantinedEvent:
    body = {"span": number, "prompt": "Dear Mrs Miller"}
    keep_unusable(
        [Unusable("otlp", "acme", f"s{number}", reason, body, WITHOUT_CONVERSATION | {"id": f"s{number}"})], now=NOON
    )
    return QuarantinedEvent.objects.get(event_id=f"s{number}")


def handle(client, item, how, **said):
    answer = client.post(f"{LIST}{item.pk}/{how}/", said, follow=True)
    return answer.status_code, [str(message) for message in answer.context["messages"]] if answer.context else []


def act(client, action, items, **said):
    chosen = {"action": action, "_selected_action": [str(item.pk) for item in items]}
    return [str(message) for message in client.post(LIST, chosen | said, follow=True).context["messages"]]


def test_the_list_counts_what_is_open_for_each_reason_and_filters_by_it(desk):
    a_span(1), a_span(2), a_span(3, "no model")
    send([report("e1", customer="nobody")])
    body = read(desk, LIST)
    for told in ("no conversation (2 open)", "no model (1 open)", "unknown customer (1 open)"):
        assert told in body
    assert "1 quarantined event" in read(desk, f"{LIST}?reason=no+model")
    assert "1 quarantined event" in read(desk, f"{LIST}?state=waiting")
    assert "3 quarantined events" in read(desk, f"{LIST}?state=refused&door=otlp")


def test_what_was_missing_is_assigned_on_the_page_of_the_item(desk):
    acme()
    item = a_span()
    assert "Dear Mrs Miller" in read(desk, row_url(item))
    assert handle(desk, item, "replay") == (
        200,
        ["rejected: /conversation: Object missing required field `conversation`"],
    )
    assert handle(desk, item, "replay", conversation="c", occurred_at="2026-11-02 11:00") == (200, ["accepted"])
    fold_waiting(now=LATER)
    assert the_sitting("acme", "c").opened_at.hour == 11
    item.refresh_from_db()
    assert (item.handled_by, item.handled_note) == (
        "operator somebody",
        '{"conversation":"c","occurred_at":"2026-11-02T11:00:00+00:00"}',
    )
    assert "Replay it" not in read(desk, row_url(item))
    assert handle(desk, item, "replay")[1] == ["it was released already"]


def test_an_item_is_discarded_with_a_reason(desk):
    item = a_span()
    assert handle(desk, item, "discard")[1] == ["reason: This field is required."]
    assert handle(desk, item, "discard", reason="a test", erase_body="on")[1] == ["Discarded."]
    body = read(desk, row_url(item))
    assert "a test" in body and "Mrs Miller" not in body


def test_many_are_replayed_and_discarded_at_once(desk):
    acme()
    spans = [a_span(number) for number in range(4)]
    assert act(desk, "replay", spans[:2], conversation="chat") == ["2 accepted"]
    assert act(desk, "replay", spans[:2]) == ["nothing was open"]
    assert act(desk, "discard", spans) == ["Say why they are never to be billed."]
    assert act(desk, "discard", spans, reason="a test") == ["2 discarded"]
    assert (Event.objects.count(), QuarantinedEvent.objects.filter(discarded_at=None).count()) == (2, 2)


def test_staff_without_permission_sees_why_but_not_what_was_sent_and_changes_nothing(looker):
    item = a_span()
    body = read(looker, row_url(item))
    assert "no conversation" in body
    assert "Mrs Miller" not in body and "Replay it" not in body
    assert handle(looker, item, "discard", reason="mine")[0] == 403
    assert (
        looker.post(LIST, {"action": "discard", "_selected_action": [str(item.pk)], "reason": "x"}).status_code == 403
    )
    assert QuarantinedEvent.objects.get().discarded_at is None


def test_the_permission_is_enough(db):
    clerk = sign_in(is_staff=True)
    User.objects.get().user_permissions.add(Permission.objects.get(codename="change_quarantinedevent"))
    item = a_span()
    assert handle(clerk, item, "discard", reason="a test")[1] == ["Discarded."]
    assert clerk.get(f"{LIST}{item.pk}/discard/").status_code == 403
    assert clerk.post(f"{LIST}{item.pk}/delete/").status_code == 403


def test_a_file_is_followed_from_its_rows_to_its_undo(desk):
    acme()
    file = a_file(ndjson(sent([report("e1"), report("e2")])) + b'{"id": "<b>bad"}\n', name="march.csv")
    record = store(file)
    body = read(desk, row_url(record))
    assert "march.csv" in body and "&lt;b&gt;bad" in body and "<b>bad" not in body
    assert "march.csv" in read(desk, f"{rows_url(Backfill)}?state=stored")
    send([report("e1", tokens=(900, 0, 0, 500, 0))])
    undo(record)
    assert "reported again since" in read(desk, row_url(record))
    assert "1 backfill" in read(desk, f"{rows_url(Backfill)}?state=undone")
