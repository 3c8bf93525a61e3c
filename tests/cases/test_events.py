"""What becomes of an event that is sent again, as others have it."""

from collections import Counter

import pytest

from tests.cases.collection import Case, field_cases
from tests.cast import acme, bolt, report, send

pytestmark = pytest.mark.django_db


@field_cases("dedup", "inserted")
def test_an_event_sent_again_is_a_duplicate_and_no_error(case: Case) -> None:
    acme()
    found = Counter(send([report(event["external_id"]) for event in case["inputs"]["events"]]))
    assert found == {"accepted": case["expected"]["inserted"], "duplicate": case["expected"]["duplicates"]}


@field_cases("dedup", "kept")
def test_the_same_id_of_somebody_else_is_another_event(case: Case) -> None:
    """A subscription of theirs is a customer of ours, which has one at a time."""
    customers = {"s1": acme().key, "s2": bolt().key}
    sent = [
        report(event["transaction_id"], customer=customers[event["subscription"]]) for event in case["inputs"]["events"]
    ]
    assert send(sent).count("accepted") == case["expected"]["kept"]
