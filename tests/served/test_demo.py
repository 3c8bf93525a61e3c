"""`manage.py demo`: the bill that README.md explains, twice the same, and nothing is left running."""

import re
from pathlib import Path

from tests.served.serving import ROOT, manage, processes_of

AMOUNT = re.compile(r"\d+\.\d\d")
WHOLE_LINE = re.compile(r"\d[\d,]* \w+ conversations: .* USD$")


def test_the_demo_ends_with_the_bill_of_the_readme_and_is_the_same_on_a_second_run(tmp_path: Path) -> None:
    first, second = (manage(tmp_path, "demo") for _ in range(2))
    for done in (first, second):
        assert done.returncode == 0, done.stdout + done.stderr
    assert explained_bill(first.stdout) == explained_bill(readme_bill())
    assert the_bill(first.stdout) == the_bill(second.stdout)
    assert replayed_counts(first.stdout)["accepted"] > 4_000
    assert replayed_counts(second.stdout)["accepted"] == replayed_counts(second.stdout)["updated"] == 0
    assert processes_of(tmp_path) == {}


def readme_bill() -> str:
    section = (ROOT / "README.md").read_text().partition("## One bill, explained")[2]
    return section.partition("How it came about")[0]


def explained_bill(text: str) -> dict[str, tuple[str, ...]]:
    """For each line of a bill its counts and amount; for each tier, too, the sentence that explains it."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] and words[0] in ("simple", "standard", "complex", "enterprise"):
            found[words[0]] = tuple(words[1:5])
        elif "base fee" in line or words[:1] == ["total"]:
            found["base fee" if "base fee" in line else "total"] = tuple(AMOUNT.findall(line)[-1:])
        if sentence := WHOLE_LINE.search(line):
            found[f"{sentence[0].split()[1]} explained"] = (sentence[0],)
    return found


def the_bill(printed: str) -> str:
    """All of it as printed, from the invoice's number to what became of it at Stripe."""
    return printed[printed.index("Invoice ") : printed.index("Done in")]


def replayed_counts(printed: str) -> dict[str, int]:
    heads, numbers = (line.split() for line in printed.splitlines() if line.startswith(("file ", "acme-")))
    return {head: int(number.replace(",", "")) for head, number in zip(heads[1:], numbers[1:], strict=True)}
