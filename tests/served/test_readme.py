"""What README.md says is there is there, and its example of reporting usage works as written."""

import json
import re
import shutil
import subprocess

import pytest
from django.core.management import get_commands, load_command_class

from config.settings import INSTALLED_APPS
from tests.served.serving import ROOT, Served

README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"manage\.py (\w+)", README)))
OPTIONS = re.compile(r"--[a-z][\w-]*")
FILES = sorted({*re.findall(r"`([a-z_]+/\w+\.py)`", README), *re.findall(r"\]\(([\w/.]+)\)", README)})
FLOOR = re.compile(r"^    ([a-z]+) {2,}.*?\? {2,}(.+)$|^    ([a-z]+) {2,}(.+)$", re.MULTILINE)
MODULES_BY_NAME = ("billing", "metering")  # the floors whose modules the tower names; of others it says what they hold


def section(title: str) -> str:
    found = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"there is no section {title}"
    return found


def example(section_text: str, beginning: str) -> str:
    """The indented example that begins so, up to the next empty line, without its remark."""
    start = section_text.index(f"    {beginning}") + 4
    return section_text[start:].partition("\n\n")[0].partition("   #")[0]


def table(title: str) -> list[list[str]]:
    rows = [line.strip("| ").split(" | ") for line in section(title).splitlines() if line.startswith("| ")]
    return rows[1:]


def test_the_example_of_reporting_usage_works_as_written(served: Served) -> None:
    text = section("Reporting usage")
    words = example(text, "manage.py create_api_key").split()
    key = served.run(*words[1:]).strip()
    assert waits_for_its_customer(posted(served, example(text, "curl"), key))
    served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})
    served.run("settle")
    assert posted(served, example(text, "curl"), key)["duplicate"] == 1
    assert [event["id"] for event in served.ask("/v1/events?customer=acme")["data"]] == ["req_123"]


def posted(served: Served, command: str, key: str) -> dict[str, int]:
    """What the API answers to the README's curl, sent to the port that the test has."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    command = command.replace("http://127.0.0.1:8000", served.url)
    done = subprocess.run(["bash", "-c", command], env={"KEY": key, "PATH": "/usr/bin:/bin"}, capture_output=True)
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def waits_for_its_customer(answer: dict[str, int]) -> bool:
    return (answer["quarantined"], answer["accepted"], answer["rejected"]) == (1, 0, 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_named_exists_and_takes_the_options_shown(name: str) -> None:
    assert name in get_commands()
    command = load_command_class(get_commands()[name], name)
    known = {option for action in command.create_parser("manage.py", name)._actions for option in action.option_strings}
    for use in re.findall(rf"manage\.py {name}([^`\n]*)", README):
        assert set(OPTIONS.findall(use)) <= known


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|    )make ([a-z]+)", README)) <= targets


def test_every_floor_and_module_that_the_house_names_exists() -> None:
    floors = {match[1] or match[3]: match[2] or match[4] for match in FLOOR.finditer(section("The house"))}
    assert set(floors) <= set(INSTALLED_APPS)
    assert {"config", "console", "refinery", "billing", "metering", "plans", "api"} <= set(floors)
    words = [(floor, word) for floor in MODULES_BY_NAME for word in floors[floor].split(",")]
    named = [f"{floor}/{word.strip().replace(' ', '_')}" for floor, word in words]
    assert [module for module in named if not has_module(module)] == []


def has_module(path: str) -> bool:
    return (ROOT / f"{path}.py").is_file() or (ROOT / path / "__init__.py").is_file()


@pytest.mark.parametrize("path", FILES)
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_variable_of_the_environment_is_read() -> None:
    named = [name for row in table("In production") for name in re.findall(r"[A-Z_]{6,}", row[0])]
    config = "".join(path.read_text() for path in (ROOT / "config").glob("*.py"))
    assert len(named) >= 9
    assert [name for name in named if f'"{name}"' not in config] == []


def test_every_path_that_is_named_is_served(served: Served) -> None:
    for path in ("/admin/login/", "/v1/docs"):
        assert path.removesuffix("login/") in README
        assert served.status(path) == 200
