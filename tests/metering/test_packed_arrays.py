"""Do packed arrays arrive as what was packed, whatever the values?"""

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.packed_arrays import PACKERS, raw_cursor

pytestmark = pytest.mark.django_db
INSTANTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2999, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
VALUES = {
    "int2": st.none() | st.integers(-(2**15), 2**15 - 1),
    "int4": st.none() | st.integers(-(2**31), 2**31 - 1),
    "int8": st.none() | st.integers(-(2**63), 2**63 - 1),
    "timestamptz": st.none() | INSTANTS,
    "uuid": st.uuids(),
    "text": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "bool": st.booleans(),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_an_array_arrives_as_it_was_packed(kind, django_db_blocker):
    @given(st.lists(VALUES[kind], max_size=20))
    def arrives(values):
        with raw_cursor() as cursor:
            cursor.execute(f"SELECT %s::{kind}[]", [PACKERS[kind](values)])
            assert cursor.fetchone()[0] == values

    arrives()


def test_rows_of_many_columns_come_out_of_unnest_together():
    ids = [uuid.uuid4() for _ in range(3)]
    with raw_cursor() as cursor:
        cursor.execute(
            "SELECT * FROM unnest(%s::uuid[], %s::int8[]) WITH ORDINALITY",
            [PACKERS["uuid"](ids), PACKERS["int8"]([1, None, 3])],
        )
        assert cursor.fetchall() == [(ids[0], 1, 1), (ids[1], None, 2), (ids[2], 3, 3)]
