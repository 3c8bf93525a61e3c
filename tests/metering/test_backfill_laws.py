"""A file is as if its events had been sent; a dry run tells the same and changes nothing; an undo leaves no trace."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import backfill_reading, backfill_undo
from metering.models import Backfill
from metering.reports import Report
from tests.cast import acme, send, settled
from tests.metering.backfills import a_file, as_csv, everything, ndjson, sent, store, undo
from tests.metering.histories import histories, in_batches, random_histories
from tests.undoing import undone

pytestmark = pytest.mark.django_db
REPORTED = ("rows", "accepted", "duplicate", "updated", "conflict", "quarantined", "rejected", "conversations")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short history takes several of them, and its growing events lie in different ones."""
    monkeypatch.setattr(backfill_reading, "BATCH_ROWS", 3)
    monkeypatch.setattr(backfill_undo, "EVENTS_A_STEP", 2)


def reported(record: Backfill) -> dict[str, Any]:
    return {name: getattr(record, name) for name in REPORTED}


def split(reports: list[Report], chance: random.Random) -> tuple[list[Report], list[Report]]:
    """What came by itself, and what comes by file; closes are in no file, and some reports are in both."""
    live = [one for one in reports if one.sent is None or chance.random() < 0.5]
    filed = [one for one in reports if one.sent is not None and (one not in live or chance.random() < 0.3)]
    chance.shuffle(filed)
    return live, filed


def sent_by_itself(reports: list[Report], chance: random.Random) -> None:
    for batch in in_batches(reports, chance):
        send(batch)
        if chance.random() < 0.3:
            settled()


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32))
def test_after_an_undo_everything_is_as_before(history: list[Report], seed: int) -> None:
    chance = random.Random(seed)
    with undone():
        acme()
        live, filed = split(history, chance)
        sent_by_itself(live, chance)
        before = everything()
        record = store(a_file(ndjson(sent(filed))))
        if chance.random() < 0.5:
            settled()
        assert undo(record).kept == 0
        assert everything() == before
        again = store(a_file(ndjson(sent(filed))))
        assert reported(again) == reported(record)


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32))
def test_a_dry_run_changes_nothing_and_tells_what_the_real_run_does(history: list[Report], seed: int) -> None:
    chance = random.Random(seed)
    with undone():
        acme()
        live, filed = split(history, chance)
        sent_by_itself(live, chance)
        file = a_file(ndjson(sent(filed)))
        before = everything()
        tried = store(file, dry_run=True)
        assert everything() == before
        assert reported(tried) == reported(store(file))


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32), whole_as_csv=st.booleans())
def test_any_split_of_a_file_in_either_format_stores_what_sending_stores(
    history: list[Report], seed: int, whole_as_csv: bool
) -> None:
    chance = random.Random(seed)
    outcomes = []
    for as_files in (False, True):
        with undone():
            acme(byok=seed % 2 == 0)
            for batch in in_batches(history, chance):
                filed = sent(batch) if as_files else []
                if as_files and whole_as_csv:
                    store(a_file(as_csv(filed), "csv"))
                else:
                    store(a_file(ndjson(filed)))
                send([one for one in batch if not as_files or one.sent is None])
            stored = everything()
            for name in ("event", "conversation", "openconversation", "settledconversation"):
                for row in stored[f"metering_{name}"]:
                    del row["customer_id"]
            outcomes.append(stored)
    assert outcomes[0] == outcomes[1]


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32))
def test_files_undone_in_any_order_leave_what_the_others_brought(history: list[Report], seed: int) -> None:
    """An event that a later file has too stays until that file is undone as well; then the first is undone again."""
    chance = random.Random(seed)
    with undone():
        acme()
        live, filed = split(history, chance)
        sent_by_itself(live, chance)
        before = everything()
        records = [
            store(a_file(ndjson(sent(batch)), name=f"file {n}")) for n, batch in enumerate(in_batches(filed, chance))
        ]
        chance.shuffle(records)
        for _ in records:
            for record in records:
                undo(record)
        assert all(Backfill.objects.get(pk=record.pk).kept == 0 for record in records)
        assert everything() == before
