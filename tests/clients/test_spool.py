"""The spool keeps what it took, whole, in order and within its bounds, whoever died over it."""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley_client.buffers import Limits
from parley_client.problems import NoRoom
from parley_client.segment import SUFFIX, Segment
from parley_client.spool import Spool
from tests.clients.door import Says
from tests.clients.test_sending import ids, record

LIMITS = Limits(events=5, body_bytes=2_000, linger_s=0)
events = st.lists(st.text(max_size=30).map(lambda text: b'{"id":%r}' % text), max_size=12)


def a_spool(folder, *, limits=LIMITS, max_bytes=10**6, fsync="never", torn=print):
    return Spool(Path(folder), threading.Condition(), limits, max_bytes, fsync=fsync, torn=torn)


def record_of(number):
    return b'{"id":"e%d"}' % number


def drained(spool):
    records = []
    while (batch := spool.take()) is not None:
        records += batch.records
        batch.done()
    return records


def die(spool):
    """What the kernel does for a process that is killed: it closes the files."""
    for segment in (spool._active, spool._taken):
        if segment is not None:
            segment._file.close()


@given(st.data())
def test_of_a_file_cut_off_anywhere_every_whole_line_comes_back(data):
    count = data.draw(st.integers(0, 8))
    lines = [record_of(number) for number in range(count)]
    written = b"".join(line + b"\n" for line in lines)
    cut = data.draw(st.integers(0, len(written)))
    torn = []
    with TemporaryDirectory() as folder:
        (Path(folder) / f"1{SUFFIX}").write_bytes(written[:cut])
        assert drained(a_spool(folder, torn=torn.append)) == lines[: (cut + 1) // len(lines[0] + b"\n") if lines else 0]
        assert [*Path(folder).iterdir()] == []
    rest = (cut % len(lines[0] + b"\n")) if lines else 0
    assert len(torn) == (rest not in (0, len(lines[0]) if lines else 0))


@given(st.binary(max_size=200), st.integers(0, 5))
def test_garbage_in_a_file_costs_none_of_the_records_around_it(garbage, count):
    lines = [record_of(number) for number in range(count)]
    with TemporaryDirectory() as folder:
        text = b"\n".join([*lines[:2], garbage, *lines[2:]])
        (Path(folder) / f"1{SUFFIX}").write_bytes(text)
        assert [line for line in drained(a_spool(folder, torn=lambda detail: None)) if line in lines] == lines


class Neighbours(RuleBasedStateMachine):
    """Two processes at one spool, which record, send, fail to send and die: what they took comes out in the end."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.spools = [a_spool(self.folder.name) for _ in range(2)]
        self.batches = {}
        self.recorded = []
        self.sent = []

    @rule(which=st.integers(0, 1), count=st.integers(1, 7))
    def records(self, which, count):
        for _ in range(count):
            self.spools[which].append(record_of(len(self.recorded)))
            self.recorded.append(record_of(len(self.recorded)))

    @rule(which=st.integers(0, 1))
    def takes(self, which):
        if which not in self.batches and (batch := self.spools[which].take()) is not None:
            self.batches[which] = batch

    @precondition(lambda self: self.batches)
    @rule(answered=st.booleans(), data=st.data())
    def is_answered_or_not(self, answered, data):
        batch = self.batches.pop(data.draw(st.sampled_from(sorted(self.batches))))
        if answered:
            self.sent += batch.records
            batch.done()
        else:
            batch.put_back()

    @rule(which=st.integers(0, 1))
    def flushes(self, which):
        reached = self.spools[which].mark()
        if which not in self.batches and not self.batches:
            self.sent += drained(self.spools[which])
            assert reached()

    @rule(which=st.integers(0, 1), had_sent=st.booleans())
    def dies_and_is_started_again(self, which, had_sent):
        batch = self.batches.pop(which, None)
        if batch is not None and had_sent:
            self.sent += batch.records  # and dies before it has removed them
        die(self.spools[which])
        self.spools[which] = a_spool(self.folder.name)

    @invariant()
    def no_two_send_the_same(self):
        at_work = [line for batch in self.batches.values() for line in batch.records]
        assert len(at_work) == len(set(at_work))

    def teardown(self):
        for spool in self.spools:
            die(spool)
        self.sent += drained(a_spool(self.folder.name))
        assert set(self.sent) == set(self.recorded)
        assert [*Path(self.folder.name).iterdir()] == []
        self.folder.cleanup()


TestNeighbours = Neighbours.TestCase


def test_records_come_out_in_the_order_they_went_in(tmp_path):
    spool = a_spool(tmp_path)
    for number in range(23):
        spool.append(record_of(number))
    assert drained(spool) == [record_of(number) for number in range(23)]


def test_it_is_bounded_and_has_room_again_when_something_was_sent(tmp_path):
    spool = a_spool(tmp_path, max_bytes=100)
    with pytest.raises(NoRoom):
        for number in range(100):
            spool.append(record_of(number))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 100
    assert len(drained(spool)) >= 5
    assert spool.take() is None  # which looks anew
    spool.append(record_of(100))
    assert drained(spool) == [record_of(100)]


def test_what_neighbours_keep_takes_room_too(tmp_path):
    (tmp_path / f"1{SUFFIX}").write_bytes(b"x" * 100)
    spool = a_spool(tmp_path, max_bytes=110)
    assert spool.is_left_over
    with pytest.raises(NoRoom):
        spool.append(record_of(1))


def test_nobody_else_may_read_it(tmp_path):
    spool = a_spool(tmp_path / "spool")
    spool.append(record_of(1))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool", *(tmp_path / "spool").iterdir())]
    assert modes == [0o700, 0o600]
    assert drained(spool) == [record_of(1)]


@pytest.mark.parametrize(
    ("policy", "at_record", "at_interval", "at_seal"), [("never", 0, 0, 0), ("interval", 1, 1, 1), ("always", 2, 0, 1)]
)
def test_the_disk_is_waited_for_as_often_as_the_policy_says(
    tmp_path, monkeypatch, policy, at_record, at_interval, at_seal
):
    waited = []
    monkeypatch.setattr(os, "fsync", waited.append)
    spool = a_spool(tmp_path, fsync=policy)
    counts = []
    for act in (lambda: spool.append(record_of(1)), spool.sync, spool.mark):
        act()
        counts.append(len(waited))
        waited.clear()
    assert counts == [at_record, at_interval, at_seal]
    assert drained(spool) == [record_of(1)]


def test_a_segment_that_was_begun_is_never_taken_for_one_left_behind(tmp_path):
    for _ in range(200):
        begun, stop = [], threading.Event()

        def take_all(stop=stop):
            while not stop.is_set():
                for path in tmp_path.iterdir():
                    with suppress(FileNotFoundError):
                        if (segment := Segment.claim(path)) is not None:
                            segment.remove()

        thief = threading.Thread(target=take_all)
        thief.start()
        try:
            begun.append(Segment.begin(tmp_path))
            begun[0].write(record_of(1), durable=False)
            assert begun[0].path.read_bytes() == record_of(1) + b"\n"
        finally:
            stop.set()
            thief.join()
            begun[0].remove()


def test_where_the_spool_takes_no_more_memory_does_and_it_is_told(parley_at, door, problems, tmp_path):
    parley = parley_at(door.url, spool=tmp_path, spool_bytes=500, linger_s=60)
    record(parley, *range(10))
    assert {problem.status for problem in problems} == {"memory_only"}
    assert parley.flush(5)
    assert sorted(door.events) == sorted(ids(*range(10)))


def test_where_the_folder_is_gone_memory_does_too(parley_at, door, problems, tmp_path):
    parley = parley_at(door.url, spool=tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    record(parley, 1)
    wait = threading.Event()
    for _ in range(100):
        if door.events:
            break
        wait.wait(0.05)
    assert ([*door.events], [problem.status for problem in problems]) == (ids(1), ["memory_only"])


def test_a_torn_record_is_told(parley_at, door, problems, tmp_path):
    (tmp_path / f"1{SUFFIX}").write_bytes(b'{"id":"e1","conversation":"c"}\n{"id":"e2","conv')
    parley = parley_at(door.url, spool=tmp_path)
    parley.flush(5)
    while any(tmp_path.iterdir()):
        threading.Event().wait(0.01)
    assert [*door.events] == ["e1"]
    assert [problem.status for problem in problems] == ["unreadable"]
    assert "e2" in problems[0].detail


def test_what_is_left_at_close_waits_for_the_next_one(parley_at, door, problems, tmp_path):
    door.answers = [Says(503)] * 100
    first = parley_at(door.url, spool=tmp_path)
    record(first, *range(30))
    assert not first.close(0.1)
    door.answers.clear()
    parley_at(door.url, spool=tmp_path)
    while any(tmp_path.iterdir()):
        threading.Event().wait(0.01)
    assert sorted(door.events) == sorted(ids(*range(30)))
    assert problems == []
