"""Every case that was collected is tested, once, or left out by name."""

import importlib
from pathlib import Path

import pytest

from tests.cases.collection import LEFT_OUT, NOT_THERE, TESTED, cases, of_our_convention


@pytest.mark.skipif(not cases(), reason=NOT_THERE)
def test_every_case_is_tested_once_or_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.cases.{path.stem}")
    known = [case["id"] for case in cases()]
    assert set(LEFT_OUT) <= set(known) and len(set(known)) == len(known) == 128
    assert sorted(TESTED) == sorted(case["id"] for case in of_our_convention())
    with capsys.disabled():
        print(f"\nfield cases: {len(TESTED)} come to the same, {len(LEFT_OUT)} are of another convention")
