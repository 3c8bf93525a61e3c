"""What a front door cannot use is kept whatever it holds; people assign what is missing, replay it, or discard it."""

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import quarantine
from metering.catching_up import fold_waiting
from metering.models import Event, QuarantinedEvent
from metering.quarantine import Unusable, keep_unusable
from metering.quarantine_review import STATES, count_reasons, find_items, state_of
from metering.releasing import release_quarantined
from tests.cast import LATER, NOON, acme, report, send, the_sitting
from tests.metering.histories import random_histories
from tests.rest import Caller
from tests.undoing import undone

pytestmark = pytest.mark.django_db
URL = "/v1/quarantine"
EVENT: dict[str, Any] = {
    **msgspec.to_builtins(report("span-1").sent),
    "occurred_at": "2026-11-02T12:00:00Z",
}
WITHOUT_CONVERSATION = {name: value for name, value in EVENT.items() if name != "conversation"}


def kept(**fields: Any) -> QuarantinedEvent:
    """An item of the OTLP door that lacks its conversation, or what a test changes of it."""
    item = Unusable("otlp", "acme", "span-1", "no conversation", {"span": 1}, WITHOUT_CONVERSATION)._replace(**fields)
    keep_unusable([item], now=NOON)
    return QuarantinedEvent.objects.order_by("id").last()  # type: ignore[return-value]


@pytest.fixture
def reviewer(caller: Any) -> Caller:
    acme()
    return caller("manage", "read")


def replay(reviewer: Caller, item: QuarantinedEvent, **said: Any) -> Any:
    answer = reviewer.post(f"{URL}/{item.id}/replay", said)
    assert answer.status_code == 200, answer.content
    fold_waiting(now=LATER)
    return answer.json()


# --- keeping --------------------------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=()))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary() | st.just(NOON),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(any_text, parts),
    max_leaves=10,
)


@random_histories
@given(
    body=anything,
    name=st.text(st.characters(exclude_categories=())),
    event=st.none() | st.dictionaries(st.text(), anything),
)
def test_anything_is_kept_and_once(body: Any, name: str, event: dict[str, Any] | None) -> None:
    with undone():
        item = Unusable(name, name, name, name, body, event)
        keep_unusable([item, item], now=NOON)
        keep_unusable([item], now=LATER)
        row = QuarantinedEvent.objects.get()
        assert (state_of(row), row.received_at) == ("refused", NOON)


def test_the_deepest_and_the_largest_are_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: Any = "found"
    for _ in range(10_000):
        deep = [deep]
    monkeypatch.setattr(quarantine, "MAX_BODY_BYTES", 1_000)
    monkeypatch.setattr(quarantine, "KEPT_OF_LARGER", 10)
    bodies = (deep, {"a": "b" * 999}, 16**4000)
    keep_unusable([Unusable("otlp", "", "", "x" * 9_999, body, EVENT) for body in bodies], now=NOON)
    rows = {str(row.body)[-16:]: row for row in QuarantinedEvent.objects.all()}
    assert {*rows} == {"]" * 16, '{"a":"bbbb', '"0x1000000'}
    assert "nested deeper" in str(rows["]" * 16].body)
    assert [row.event is None for row in rows.values()].count(True) == 2
    assert {len(row.reason) for row in rows.values()} == {quarantine.MAX_REASON}


def test_names_as_long_as_they_come_are_cut() -> None:
    row = kept(customer_key="𝕏" * 9_999, event_id="𝕏" * 9_999)
    assert (len(row.customer_key), len(row.event_id)) == (512, 512)


def test_the_same_body_is_kept_once_per_door_and_customer() -> None:
    for door, customer in (("otlp", "acme"), ("litellm", "acme"), ("otlp", "bolt"), ("otlp", "acme")):
        kept(door=door, customer_key=customer)
    assert QuarantinedEvent.objects.count() == 3


def test_what_a_person_has_to_look_at_does_not_come_in_by_itself() -> None:
    acme()
    kept(event=EVENT)
    assert release_quarantined(now=LATER) == 0


# --- reviewing ------------------------------------------------------------------------------------------------------


def test_what_was_missing_is_assigned_and_the_event_comes_in(reviewer: Caller) -> None:
    item = kept()
    answer = replay(reviewer, item, conversation="chat-7")
    assert (answer["status"], answer["item"]["state"]) == ("accepted", "released")
    assert answer["item"]["handled_by"].startswith("Acme's backend (")
    assert answer["item"]["handled_note"] == '{"conversation":"chat-7"}'
    assert the_sitting("acme", "chat-7").calls == 1
    assert reviewer.post(f"{URL}/{item.id}/replay", {}).status_code == 409


def test_a_replay_that_fails_says_why_and_leaves_the_item_open(reviewer: Caller) -> None:
    item = kept()
    answer = replay(reviewer, item)
    assert (answer["status"], answer["pointer"]) == ("rejected", "/conversation")
    assert answer["item"]["reason"] == "/conversation: Object missing required field `conversation`"
    assert replay(reviewer, item, conversation="c", customer="nobody")["status"] == "quarantined"
    assert replay(reviewer, item, conversation="c", occurred_at="2030-01-01T00:00:00Z")["pointer"] == "/occurred_at"
    assert QuarantinedEvent.objects.count() == 1
    send([report("span-1", model="another")])
    assert replay(reviewer, item, conversation="chat")["status"] == "conflict"
    assert (state_of(QuarantinedEvent.objects.get()), Event.objects.count()) == ("refused", 1)


def test_an_event_of_the_contract_may_be_given_to_another_customer(reviewer: Caller) -> None:
    send([report("e1", customer="acmee")])
    assert replay(reviewer, QuarantinedEvent.objects.get(), customer="acme")["status"] == "accepted"
    row = QuarantinedEvent.objects.get()
    assert (row.customer_key, row.body["customer"]) == ("acme", "acmee")


def test_what_makes_no_event_at_all_cannot_be_replayed(reviewer: Caller) -> None:
    item = kept(body="torn", event=None)
    assert replay(reviewer, item, conversation="c")["detail"] == "nothing is left of it that could be replayed"


def test_an_item_is_discarded_with_a_reason_and_its_body_erased_if_asked(reviewer: Caller) -> None:
    first, second = kept(), kept(body={"span": 2})
    answer = reviewer.post(f"{URL}/{first.id}/discard", {"reason": "a load test"}).json()
    assert (answer["state"], answer["handled_note"]) == ("discarded", "a load test")
    reviewer.post(f"{URL}/{second.id}/discard", {"reason": "private", "erase_body": True})
    assert [reviewer.get(f"{URL}/{item.id}").json()["body"] for item in (first, second)] == [{"span": 1}, None]
    assert reviewer.post(f"{URL}/{first.id}/discard", {"reason": "again"}).status_code == 409
    assert reviewer.post(f"{URL}/{first.id}/replay", {"conversation": "c"}).status_code == 409
    kept(), kept(body={"span": 2})
    assert not find_items(state="refused").exists()


def test_items_are_listed_by_state_reason_customer_door_and_time_without_bodies(reviewer: Caller) -> None:
    send([report("e1", customer="bolt")], now=LATER)
    item = kept()
    for query, ids in (
        ("", ["span-1", "e1"]),
        ("?state=waiting", ["e1"]),
        ("?state=refused&reason=no conversation", ["span-1"]),
        ("?customer=bolt", ["e1"]),
        ("?door=otlp", ["span-1"]),
        ("?from=2027-01-01T00:00:00Z", ["e1"]),
        ("?to=2027-01-01T00:00:00Z", ["span-1"]),
        ("?state=released", []),
    ):
        listed = reviewer.get(URL + query).json()["data"]
        assert [row["event_id"] for row in listed] == ids, query
        assert not any("body" in row for row in listed)
    assert reviewer.get(f"{URL}/{item.id}").json()["event"]["id"] == "span-1"
    assert reviewer.get(f"{URL}/{uuid.uuid4()}").status_code == 404
    assert reviewer.get(f"{URL}?limit=1").json()["next"] is not None


def test_every_item_is_in_one_state(reviewer: Caller) -> None:
    send([report("e1", customer="bolt")])
    for number in range(3):
        kept(body=number, event={**EVENT, "id": str(number)})
    replay(reviewer, QuarantinedEvent.objects.get(body=0))
    reviewer.post(f"{URL}/{QuarantinedEvent.objects.get(body=1).id}/discard", {"reason": "x"})
    for row in QuarantinedEvent.objects.all():
        assert [state for state in STATES if find_items(state=state).filter(id=row.id)] == [state_of(row)]
    assert [find_items(state=state).count() for state in STATES] == [1, 1, 1, 1]
    assert count_reasons() == [("no conversation", 1), ("unknown customer", 1)]


def test_many_are_replayed_at_once_and_those_that_stay_are_passed_over(reviewer: Caller) -> None:
    for number in range(5):
        broken = {"provider": ""} if number == 1 else {}
        kept(body=number, event={**WITHOUT_CONVERSATION, **broken, "id": f"s{number}"})
    kept(reason="something else", body="other")
    body: dict[str, Any] = {"filter": {"reason": "no conversation"}, "set": {"conversation": "chat"}, "limit": 3}
    first = reviewer.post(f"{URL}/replay", body).json()
    assert (first["accepted"], first["rejected"], first["left"]) == (2, 1, 2)
    second = reviewer.post(f"{URL}/replay", body | {"after": first["after"]}).json()
    assert (second["accepted"], second["left"]) == (2, 0)
    assert reviewer.post(f"{URL}/replay", body).json()["rejected"] == 0
    assert (Event.objects.count(), find_items(state="refused").count()) == (4, 2)


def test_keys_and_scopes_decide_who_may_look_and_who_may_change(reviewer: Caller, caller: Any) -> None:
    item = kept()
    for client, looks, changes in ((caller("read"), 200, 403), (caller("manage"), 403, 200)):
        assert [client.get(url).status_code for url in (URL, f"{URL}/{item.id}")] == [looks, looks]
        assert client.post(f"{URL}/replay", {"filter": {"door": "no such"}}).status_code == changes
        assert client.post(f"{URL}/{uuid.uuid4()}/discard", {"reason": "x"}).status_code == (
            404 if changes == 200 else 403
        )
