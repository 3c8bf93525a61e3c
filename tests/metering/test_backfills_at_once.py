"""Files, live senders and undos at the same time: every event once, and nothing of a live sender is taken back."""

import threading
from collections.abc import Callable

from billing.books.checking import check
from billing.books.conversations import CONVERSATIONS
from metering.catching_up import fold_waiting
from metering.models import Backfill, Conversation, Event
from tests.cast import LATER, acme, report, send
from tests.metering.backfills import a_file, ndjson, sent, store, undo
from tests.metering.conftest import Sessions


def started_together(*calls: Callable[[], object]) -> list[Callable[[], object]]:
    start = threading.Barrier(len(calls))

    def waiting(call: Callable[[], object]) -> object:
        start.wait()
        return call()

    return [lambda call=call: waiting(call) for call in calls]  # type: ignore[misc]


def assert_conversations_right(calls: int) -> None:
    fold_waiting(now=LATER)
    assert sum(Conversation.objects.values_list("calls", flat=True)) == Event.objects.count() == calls
    assert check(LATER, only=[invariant.name for invariant in CONVERSATIONS]) == []


def test_files_beside_live_senders_of_the_same_ids_store_each_event_once(sessions: Sessions) -> None:
    acme()
    reports = [report(f"e{n}", n) for n in range(40)]
    files = [a_file(ndjson(sent(reports[n:] + reports[:n])), name=f"file {n}") for n in range(3)]
    clients = [lambda n=n: [send([one]) for one in reports[n::2]] for n in range(2)]  # type: ignore[misc]
    sessions.all(started_together(*clients, *(lambda file=file: store(file) for file in files)))  # type: ignore[misc]
    assert_conversations_right(40)
    accepted = sum(Backfill.objects.values_list("accepted", flat=True))
    duplicates = sum(Backfill.objects.values_list("duplicate", flat=True))
    assert (accepted <= 40, accepted + duplicates) == (True, 120)


def test_an_undo_beside_growing_live_reports_takes_back_nothing_that_grew(sessions: Sessions) -> None:
    acme()
    record = store(a_file(ndjson(sent(report(f"e{n}", n) for n in range(30)))))
    grown = [report(f"e{n}", n, tokens=(900, 0, 0, 500, 0)) for n in range(30)]
    sessions.all(started_together(lambda: undo(record), lambda: [send([one]) for one in reversed(grown)]))
    assert_conversations_right(30)
    assert {*Event.objects.values_list("output_tokens", flat=True)} == {500}


def test_undos_of_one_file_at_once_take_it_back_once(sessions: Sessions) -> None:
    acme()
    record = store(a_file(ndjson(sent(report(f"e{n}", n) for n in range(30)))))
    sessions.all(started_together(*[lambda: undo(record)] * 4))
    assert Backfill.objects.get().removed == 30
    assert_conversations_right(0)
