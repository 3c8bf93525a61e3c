"""docs/operations.md names every figure that /metrics tells, and none that it does not."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


@pytest.mark.django_db
def test_the_page_and_the_metrics_name_the_same_figures(caller):
    told = caller("read").get("/metrics").content.decode()
    figures = set(re.findall(r"^# TYPE (parley_\w+) (?:counter|gauge|histogram)$", told, re.MULTILINE))
    created = {name for name in figures if name.endswith("_created")}
    named = {name.removesuffix("_count") for name in re.findall(r"parley_\w+", PAGE)}
    assert named == figures - created
