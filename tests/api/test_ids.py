"""Ids sort by creation, whatever the clock does."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from api import ids
from api.ids import uuid7, uuid7s


def test_an_id_is_a_version_7_uuid_holding_the_time(monkeypatch):
    monkeypatch.setattr(ids, "_last_ms", -1)  # other tests may have been in the future
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_ids_only_grow_even_when_the_clock_steps_back(steps):
    start = time.time_ns() // 1_000_000
    made = [uuid7(start + step) for step in steps]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_bulk_ids_are_distinct_ascending_and_follow_single_ones():
    first = uuid7()
    many = uuid7s(10_000)
    assert [first, *many] == sorted({first, *many})
    assert {each.version for each in many} == {7}
    assert {each.variant for each in many} == {uuid.RFC_4122}


def test_threads_never_get_the_same_id():
    with ThreadPoolExecutor(4) as pool:
        made = [each for batch in pool.map(uuid7s, [500] * 20) for each in batch]
    assert len(set(made)) == 10_000
