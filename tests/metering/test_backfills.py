"""What a file brought is stored once, told row by row, and taken back as far as nobody else has touched it."""

import pytest
from django.db import transaction

from billing.books.checking import check
from metering import backfill_reading, backfilling
from metering.backfill_undo import BackfillNotFound, NothingToUndo, undo_backfill
from metering.backfilling import RunsElsewhere
from metering.catching_up import fold_waiting
from metering.corrections import amend_event, void_event
from metering.models import Backfill, BackfilledEvent, BackfillReject, Event, QuarantinedEvent
from metering.reading import take_reading
from metering.releasing import release_quarantined
from metering.reports import Report
from plans.customers import erase_customer
from tests.cast import LATER, acme, at, bolt, report, send, settled, sittings_of, the_sitting
from tests.metering.backfills import a_file, as_csv, counts, everything, ndjson, sent, store, undo

pytestmark = pytest.mark.django_db


def small(event_id: str = "e1", output: int = 1, **fields: object) -> Report:
    return report(event_id, tokens=(1, 0, 0, output, 0), **fields)  # type: ignore[arg-type]


def stored(*reports: Report, name: str = "events") -> Backfill:
    return store(a_file(ndjson(sent(reports)), name=name))


def kept(record: Backfill) -> dict[str, str]:
    notes = BackfilledEvent.objects.filter(backfill=record).exclude(kept_because="")
    return dict(notes.values_list("event_id", "kept_because"))


def test_every_row_is_counted_and_what_needs_a_person_is_kept_with_its_line() -> None:
    acme()
    send([small("known"), small("other", model="gpt-5")])
    lines = ndjson(sent([small("new"), small("known"), small("new", 5), small("other"), small("x", customer="bolt")]))
    record = store(a_file(lines + b'{"id": "bad", "turn": 0}\n'))
    assert counts(record) == {
        "accepted": 1, "duplicate": 1, "updated": 1, "conflict": 1, "quarantined": 1, "rejected": 1,
    }  # fmt: skip
    rejects = BackfillReject.objects.order_by("line").values_list("line", "event_id", "status", "pointer", "reason")
    assert list(rejects) == [
        (4, "other", "conflict", "", "model: stored gpt-5, sent unpriced-1"),
        (6, "bad", "rejected", "/turn", "Expected `int` >= 1"),
    ]
    assert (record.rows, record.conversations, the_sitting().calls) == (6, 1, 3)


def test_events_older_than_any_request_may_bring_come_by_file() -> None:
    acme()
    assert counts(stored(small(hours=-24 * 900))) == {"accepted": 1}
    too_old = ndjson(sent([small("e2")])).replace(b'"2026-', b'"1969-')
    assert counts(store(a_file(too_old))) == {"rejected": 1}


def test_an_undone_event_is_as_if_never_sent_and_its_id_free_for_a_corrected_file() -> None:
    acme()
    before = everything()
    record = undo(stored(small(model="wrong")))
    assert (record.removed, record.restored, record.kept) == (1, 0, 0)
    assert everything() == before
    assert counts(stored(small(model="right"))) == {"accepted": 1}
    assert Event.objects.get().model == "right"


def test_an_undo_puts_back_what_the_file_changed_even_where_it_was_called_a_duplicate() -> None:
    acme()
    send([small(), small("late", turn=1)])
    before = everything()
    record = stored(small(output=9), small("late", hours=-1, turn=2))
    assert counts(record) == {"updated": 1, "duplicate": 1}
    assert undo(record).restored == 2
    assert everything() == before


def test_undoing_twice_changes_nothing_more() -> None:
    acme()
    record = stored(small(), small("e2"))
    assert [undo(record).removed for _ in range(3)] == [2, 2, 2]


def test_what_others_touched_since_stays_with_the_reason() -> None:
    customer = acme()
    record = stored(*[small(f"e{n}") for n in range(5)])
    send([small("e1", 5)])
    void_event(customer, "e2", reason="a test", now=LATER)
    amend_event(customer, "e3", {"turn": 3}, reason="a test", now=LATER)
    stored(small("e4"), name="a later file")
    assert undo(record).kept == 4
    assert kept(record) == {
        "e1": "reported again since, with something new",
        "e2": "voided or amended since",
        "e3": "voided or amended since",
        "e4": "also in a later file, which came after it",
    }
    assert sorted(Event.objects.values_list("event_id", flat=True)) == ["e1", "e2", "e3", "e4"]


def test_files_are_taken_back_from_the_last_to_the_first() -> None:
    acme()
    first, second = stored(small(), name="first"), stored(small(output=5), name="second")
    assert (undo(first).kept, kept(first)) == (1, {"e1": "reported again since, with something new"})
    assert (undo(second).restored, Event.objects.get().output_tokens) == (1, 1)
    assert (undo(first).kept, kept(first), Event.objects.count()) == (0, {}, 0)


def test_an_event_that_others_changed_between_two_rows_of_the_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 1)
    acme()
    growing = iter([small(output=3), small("unrelated")])

    def meanwhile(rows: int) -> None:
        send([next(growing)])

    file = a_file(ndjson(sent([small(output=1), small(output=5)])))
    record = backfilling.backfill(file, dry_run=False, by="", clock=lambda: LATER, progress=meanwhile)
    assert (undo(record).kept, kept(record)) == (1, {"e1": "others reported it too while the file came in"})


def test_a_call_that_comes_in_after_the_undo_is_stored_as_if_there_had_been_no_file() -> None:
    acme()
    undo(stored(small(output=9), small("e2", hours=30)))
    assert send([small(output=2)]) == ["accepted"]
    assert (the_sitting().calls, the_sitting().output_tokens) == (1, 2)


def test_events_of_customers_to_come_wait_and_go_with_the_undo() -> None:
    record = stored(small(), small("e2", customer="bolt"))
    send([small(), small("live")])
    assert undo(record).removed == 0
    assert [*QuarantinedEvent.objects.values_list("door", "event_id").order_by("event_id")] == [
        ("events", "e1"),
        ("events", "live"),
    ]


def test_what_came_out_of_quarantine_is_taken_back_with_its_file() -> None:
    record = stored(small(), small("e2", customer="bolt"))
    acme(), bolt()
    assert release_quarantined(now=LATER) == 2
    assert undo(record).removed == 2
    assert not Event.objects.exists() and not QuarantinedEvent.objects.exists()
    assert check(LATER, only=["released_event_is_stored"]) == []


def test_an_event_that_waited_by_itself_too_stays() -> None:
    record = stored(small())
    send([small()])
    acme()
    assert release_quarantined(now=LATER) == 2
    assert (undo(record).kept, Event.objects.count()) == (1, 1)
    assert check(LATER, only=["released_event_is_stored"]) == []


def test_a_file_of_an_erased_customer_waits_like_any_other() -> None:
    erase_customer(acme(), now=LATER)
    assert counts(stored(small())) == {"quarantined": 1}


def test_a_run_that_was_killed_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 2)
    acme()
    file = a_file(ndjson(sent([small(f"e{n}") for n in range(5)] + [small("e0", 4)])))
    with pytest.raises(KeyboardInterrupt):
        backfilling.backfill(file, dry_run=False, by="", clock=lambda: LATER, progress=killed_after(2))
    assert (Backfill.objects.get().rows, Event.objects.count()) == (4, 4)
    record = store(file)
    assert Backfill.objects.get() == record
    assert (record.rows, counts(record)) == (6, {"accepted": 5, "updated": 1})
    assert undo(record).removed == 5


def killed_after(batches: int) -> "Killer":
    return Killer(batches)


class Killer:
    """Progress that is interrupted after some batches."""

    def __init__(self, batches: int) -> None:
        self._batches = batches

    def __call__(self, rows: int) -> None:
        self._batches -= 1
        if self._batches == 0:
            raise KeyboardInterrupt


def test_two_runs_of_a_file_do_not_count_a_row_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 1)
    acme()
    file = a_file(ndjson(sent([small(), small("e2"), small("e3")])))

    def overtaken(rows: int) -> None:
        store(file)

    with pytest.raises(RunsElsewhere):
        backfilling.backfill(file, dry_run=False, by="", clock=lambda: LATER, progress=overtaken)
    record = Backfill.objects.get()
    assert (record.rows, counts(record)) == (3, {"accepted": 3})


def test_an_undo_ends_a_run_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 1)
    acme()
    file = a_file(ndjson(sent([small(), small("e2")])))
    with pytest.raises(RunsElsewhere):
        backfilling.backfill(
            file, dry_run=False, by="", clock=lambda: LATER, progress=lambda rows: undo(Backfill.objects.get())
        )
    assert not Event.objects.exists()


def test_a_dry_run_cannot_be_undone_and_stores_only_its_report() -> None:
    acme()
    record = store(a_file(ndjson(sent([small(), small()])) + b"{}\n"), dry_run=True)
    assert (counts(record), record.conversations) == ({"accepted": 1, "duplicate": 1, "rejected": 1}, 1)
    assert not Event.objects.exists() and not BackfilledEvent.objects.exists()
    assert BackfillReject.objects.get().line == 3
    with pytest.raises(NothingToUndo):
        undo(record)
    with pytest.raises(BackfillNotFound):
        undo_backfill(acme().id, clock=lambda: LATER)


def test_a_dry_run_that_fails_leaves_no_table_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    acme()
    file = a_file(ndjson(sent([small()])))
    with pytest.raises(KeyboardInterrupt):
        backfilling.backfill(file, dry_run=True, by="", clock=lambda: LATER, progress=killed_after(1))
    assert not Backfill.objects.exists()
    assert counts(store(file, dry_run=True)) == {"accepted": 1}


def test_events_of_time_that_was_counted_for_a_bill_are_told() -> None:
    customer = acme()
    with transaction.atomic():
        take_reading(customer.id, up_to=at(100), now=at(100))
    rows = [small(), small("e2", hours=99.9), small("e3", hours=100)]
    assert store(a_file(as_csv(sent(rows)), "csv"), dry_run=True).counted_before == 2
    assert stored(*rows).counted_before == 2


def test_an_undo_joins_what_the_file_had_bridged_and_parts_what_it_had_joined() -> None:
    acme()
    send([small("morning", hours=0), small("next day", hours=40)])
    assert len(sittings_of()) == 2
    record = stored(small("between", hours=20))
    assert len(sittings_of()) == 1
    settled()
    undo(record)
    assert [row.calls for row in sittings_of()] == [1, 1]


def test_an_undo_before_the_background_has_folded_leaves_nothing() -> None:
    acme()
    before = everything()
    file = a_file(ndjson(sent([small(), small("e2", hours=30)])))
    record = backfilling.backfill(file, dry_run=False, by="", clock=lambda: LATER)
    undo(record)
    fold_waiting(now=LATER)
    assert everything() == before
