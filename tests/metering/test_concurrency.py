"""Many at once: whatever overlaps, waits or collides, nothing is lost, doubled, or changed after it was counted."""

import datetime as dt
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from django.db import connection, transaction

from metering import conversation_rows, event_rows
from metering.catching_up import catch_up
from metering.late_changes import take_late_days
from metering.models import Conversation, Event, LateChange, MeterReading, OpenConversation, QuarantinedEvent
from metering.payers import share_payers
from metering.recutting import recut_changed_schemes
from metering.releasing import release_quarantined
from metering.settling import settle_customers
from metering.usage_lock import share_usage_lock, slot_of, take_usage_lock
from plans.models import Customer
from plans.subscribing import SubscriptionOverlaps
from tests.cast import (
    LATER,
    a_plan,
    a_scheme,
    acme,
    at,
    bolt,
    close,
    report,
    send,
    settled,
    sittings_of,
    subscribed,
    the_settled,
    the_sitting,
)
from tests.metering.conftest import Sessions
from tests.metering.waiting import assert_all_is_folded_once, fold, store
from tests.served.serving import eventually

BLOCKED = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until_blocked(sessions: int = 1, *, within_s: float = 5) -> None:
    """Until so many other connections wait for a lock."""
    assert eventually(lambda: of_the_blocked("count(*)") >= sessions, within_s=within_s), "nobody waits"


def of_the_blocked(aggregate: str) -> int:
    """Something about the other connections that wait for a lock, or done to them."""
    with connection.cursor() as cursor:
        # Statistics are otherwise frozen at the first look of a transaction.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(f"SELECT {aggregate} {BLOCKED}")
        return int(cursor.fetchone()[0])


def end_the_blocked() -> None:
    """The server ends the one connection that waits for a lock, as it does when it restarts."""
    assert of_the_blocked("count(pg_terminate_backend(pid))") == 1


def counted_by_day(customer: Customer, *, read_to: dt.datetime) -> dict[dt.date, int]:
    """Count usage as billing does: alone, with what is due settled first, leaving a reading."""
    with transaction.atomic():
        take_usage_lock(customer.id)
        catch_up([customer.id], now=LATER)
        settle_customers([customer.id], as_of=read_to)
        rows = Conversation.objects.filter(customer=customer, settled__settled_at__lt=read_to)
        counts = Counter()
        for settled_at, calls in rows.values_list("settled__settled_at", "calls"):
            counts[settled_at.date()] += calls
        take_late_days(customer.id)
        MeterReading.objects.update_or_create(customer=customer, defaults={"read_to": read_to})
        return dict(counts)


# Ingest beside ingest


def test_overlapping_batches_of_eight_clients_store_and_count_each_event_once(sessions: Sessions) -> None:
    acme()
    start = threading.Barrier(8)

    def client(seed: int) -> list[str]:
        chance, statuses = random.Random(seed), []
        start.wait()
        for _ in range(20):
            ids = chance.sample(range(200), 20)
            statuses += send(
                report(f"e{number}", number % 3, conversation=f"c{number % 7}", tokens=(number, 0, 0, grown, 0))
                for number, grown in zip(ids, chance.choices([1, 2, 3], k=20), strict=True)
            )
        return statuses

    answers = sessions.all([lambda seed=seed: client(seed) for seed in range(8)])
    statuses = Counter(itertools.chain.from_iterable(answers))
    stored = list(Event.objects.all())
    assert statuses["accepted"] == len(stored) == len({event.event_id for event in stored})
    assert set(statuses) == {"accepted", "updated", "duplicate"}
    for number in range(7):
        own = [event for event in stored if event.conversation == f"c{number}"]
        sitting = the_sitting(conversation=f"c{number}")
        assert (sitting.calls, sitting.input_tokens) == (len(own), sum(event.input_tokens for event in own))
        assert sitting.output_tokens == sum(event.output_tokens for event in own)


def test_two_first_events_of_a_conversation_share_one_sitting(sessions: Sessions) -> None:
    acme()
    with transaction.atomic():
        send([report("e1", 0)])
        other = sessions.start(lambda: send([report("e2", 1)]))
        wait_until_blocked()
    assert other.result() == ["accepted"]
    assert the_sitting().calls == 2


@contextmanager
def paused_after(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first other thread that has called this function stops there, until it is told to go on."""
    reached, go_on, here = threading.Event(), threading.Event(), threading.get_ident()
    call = getattr(module, name)

    def pausing(*arguments: object, **named: object) -> object:
        answer = call(*arguments, **named)
        if threading.get_ident() != here and not reached.is_set():
            reached.set()
            go_on.wait(20)
        return answer

    monkeypatch.setattr(module, name, pausing)
    yield reached, go_on
    go_on.set()


def test_two_folds_of_a_customer_at_once_fold_everything_exactly_once(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has seen what the first has taken; it waits, fails, and starts again with what is left."""
    customer = acme()
    store(report("e1", 0), report("f1", 0, conversation="mail"))
    with paused_after(monkeypatch, conversation_rows, "heads") as (reached, go_on):
        first = sessions.start(fold)
        reached.wait(20)
        store(report("e2", 1), report("e0", -1))
        second = sessions.start(fold)
        wait_until_blocked()
        go_on.set()
    assert (first.result(), second.result()) == (1, 1)
    assert the_sitting().calls == 3
    assert_all_is_folded_once(customer)


def test_a_close_beside_the_first_event_is_not_overlooked(sessions: Sessions) -> None:
    """Neither sees the other's event before it commits, and there is no row yet on which they would meet."""
    acme()
    with transaction.atomic():
        send([report("e1", 0)])
        closing = sessions.start(lambda: close(1))
        wait_until_blocked()
    assert closing.result() == "accepted"
    assert the_sitting().closed_at == at(1)


def test_a_first_event_beside_its_close_is_not_overlooked(sessions: Sessions) -> None:
    acme()
    with transaction.atomic():
        close(1)
        sending = sessions.start(lambda: send([report("e1", 0)]))
        wait_until_blocked()
    assert sending.result() == ["accepted"]
    assert the_sitting().closed_at == at(1)


def test_growth_beside_growth_keeps_the_larger(sessions: Sessions) -> None:
    acme()
    send([report("e1", tokens=(1, 0, 0, 1, 0))])
    with transaction.atomic():
        send([report("e1", tokens=(1, 0, 0, 5, 0))])
        other = sessions.start(lambda: send([report("e1", tokens=(1, 0, 0, 3, 0))]))
        wait_until_blocked()
    assert other.result() == ["duplicate"]
    assert (the_sitting().output_tokens, Event.objects.get().output_tokens) == (5, 5)


def test_growth_waits_for_growth_that_has_read_the_event_already(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme()
    send([report("e1", tokens=(1, 0, 0, 1, 0))])
    with paused_after(monkeypatch, event_rows, "read_stored") as (reached, go_on):
        smaller = sessions.start(lambda: send([report("e1", tokens=(1, 0, 0, 3, 0))]))
        reached.wait(20)
        larger = sessions.start(lambda: send([report("e1", tokens=(1, 0, 0, 5, 0))]))
        wait_until_blocked()
        go_on.set()
    assert [smaller.result(), larger.result()] == [["updated"], ["updated"]]
    assert (the_sitting().output_tokens, Event.objects.get().output_tokens) == (5, 5)


def test_opposite_orders_of_references_do_not_hang(sessions: Sessions) -> None:
    acme()
    send([report("a", conversation="a"), report("b", conversation="b")])
    rounds = range(15)
    both = [
        lambda: [send([report(f"x{n}", conversation="a"), report(f"y{n}", conversation="b")]) for n in rounds],
        lambda: [send([report(f"v{n}", conversation="b"), report(f"w{n}", conversation="a")]) for n in rounds],
    ]
    sessions.all(both)
    assert the_sitting(conversation="a").calls == the_sitting(conversation="b").calls == 31


# Ingest beside settling


def test_settling_judges_a_conversation_as_a_concurrent_ingest_left_it(sessions: Sessions) -> None:
    customer = acme()
    send([report("e1", 0)])
    with transaction.atomic():
        send([report("e2", 1, tokens=(90_000, 0, 0, 0, 0))])
        settling = sessions.start(lambda: settle_customers([customer.id], as_of=LATER))
        wait_until_blocked()
    settling.result()
    fixed = the_settled()
    assert (fixed.tier, fixed.turns, fixed.counted_tokens, fixed.settled_at) == ("enterprise", 2, 91_000, at(25))


def test_settling_leaves_open_what_a_concurrent_ingest_has_made_last_longer(sessions: Sessions) -> None:
    customer = acme()
    send([report("e1", 0)])
    with transaction.atomic():
        send([report("e2", 1)])
        settling = sessions.start(lambda: settle_customers([customer.id], as_of=at(24.5)))
        wait_until_blocked()
    assert settling.result() == 0
    assert the_sitting().settled is None


def test_settling_that_began_before_a_scheme_changed_does_not_undo_the_recut(sessions: Sessions) -> None:
    """Its statement still sees the old scheme, and the row it then takes is the recut one."""
    ahead, customer = bolt(), acme()
    a_scheme(tiers=[("all", None, None)])
    plan = a_plan(tier_scheme="support", rates={"all": "1"})
    send([report("b", customer="bolt"), report("e1")])
    with transaction.atomic():
        OpenConversation.objects.select_for_update().get(customer=ahead)
        settling = sessions.start(lambda: settle_customers([ahead.id, customer.id], as_of=LATER))
        wait_until_blocked()
        changing = sessions.start(lambda: (subscribed(customer, plan, since=-1), recut_changed_schemes(now=LATER)))
        wait_until_blocked(2)
    settling.result(), changing.result()
    settled()
    assert the_settled().tier == "all"


def test_clients_and_settlers_together_end_in_the_right_tiers(sessions: Sessions) -> None:
    acme()
    clients = [
        lambda n=n: [send([report(f"{n}-{i}", i, conversation=f"c{i % 3}")]) for i in range(12)] for n in range(3)
    ]
    settlers = [lambda: [settled() for _ in range(10)]] * 2
    sessions.all([*clients, *settlers])
    settled()
    for number in range(3):
        sitting = the_sitting(conversation=f"c{number}")
        assert (sitting.calls, sitting.settled.turns, sitting.settled.tier) == (12, 12, "complex")


# Ingest beside counting


def test_a_count_waits_for_an_ingest_that_has_begun_and_sees_it(sessions: Sessions) -> None:
    customer = acme()
    with transaction.atomic():
        send([report("e1", 0)])
        counting = sessions.start(lambda: counted_by_day(customer, read_to=at(100)))
        wait_until_blocked()
    assert counting.result() == {at(24).date(): 1}
    assert not LateChange.objects.exists()


def test_an_ingest_that_waited_for_a_count_notes_that_it_came_late(sessions: Sessions) -> None:
    customer = acme()
    with transaction.atomic():
        assert counted_by_day(customer, read_to=at(100)) == {}
        sending = sessions.start(lambda: send([report("e1", 0)]))
        wait_until_blocked()
    assert sending.result() == ["accepted"]
    assert [note.day for note in LateChange.objects.all()] == [at(24).date()]


def test_whatever_is_not_counted_is_noted(sessions: Sessions) -> None:
    customer = acme()
    counts: list[dict[dt.date, int]] = []

    def client(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(15):
            send([report(f"{seed}-{number}", chance.randrange(0, 200), conversation=f"c{chance.randrange(4)}")])

    def counter() -> None:
        for _ in range(25):
            counts.append(counted_by_day(customer, read_to=at(150)))

    sessions.all([counter, *[lambda n=n: client(n) for n in range(5)]])
    noted = {note.day for note in LateChange.objects.all()}
    actual = counted_by_day(customer, read_to=at(150))
    days = {*actual, *counts[-1]}
    assert {day for day in days if actual.get(day) != counts[-1].get(day)} <= noted


def test_customers_do_not_wait_for_each_others_counts(sessions: Sessions) -> None:
    bolt(), acme()
    with transaction.atomic():
        take_usage_lock(acme().id)
        assert sessions.start(lambda: send([report("e1", customer="bolt")])).result(timeout=20) == ["accepted"]


def test_an_ingest_shares_the_very_locks_that_a_count_takes(sessions: Sessions) -> None:
    customers = {customer.key: customer for customer in (acme(), bolt())}
    with transaction.atomic(), connection.cursor() as cursor:
        share_payers(customers)
        cursor.execute("SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert {slot for (slot,) in cursor.fetchall()} == {slot_of(one.id) for one in customers.values()}


def test_the_usage_lock_is_shared_among_ingests(sessions: Sessions) -> None:
    customer = acme()
    with transaction.atomic():
        share_usage_lock([customer.id])
        assert sessions.start(lambda: send([report("e1")])).result(timeout=20) == ["accepted"]


# Quarantine and subscriptions


def test_a_customer_created_beside_its_events_gets_each_exactly_once(sessions: Sessions) -> None:
    start = threading.Barrier(6)

    def after_start(call: Callable[[], object]) -> object:
        start.wait()
        return call()

    def releaser() -> int:
        return sum(release_quarantined(now=LATER) for _ in range(10))

    clients = [lambda n=n: [send([report(f"e{i}", i), report(f"e{n}-{i}", i)]) for i in range(10)] for n in range(3)]
    sessions.all([lambda call=call: after_start(call) for call in [*clients, acme, releaser, releaser]])
    release_quarantined(now=LATER)
    assert Event.objects.count() == sum(row.calls for row in sittings_of()) == 40
    assert not QuarantinedEvent.objects.filter(released_at=None).exists()
    assert release_quarantined(now=LATER) == 0


def test_one_of_many_simultaneous_subscriptions_is_made_and_the_others_are_told(sessions: Sessions) -> None:
    customer, plan = acme(), a_plan()
    start = threading.Barrier(6)

    def attempt() -> str:
        start.wait()
        try:
            subscribed(customer, plan)
        except SubscriptionOverlaps:
            return "overlaps"
        return "made"

    assert sorted(sessions.all([attempt] * 6)) == ["made", *["overlaps"] * 5]
    assert sessions.all([attempt] * 6) == ["overlaps"] * 6
    assert customer.subscriptions.count() == 1
