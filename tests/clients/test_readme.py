"""The examples of the client's README work as written, against Parley, in the order of the page."""

import inspect
import re
import sys

import pytest

from parley_client import Parley, Problem
from tests.clients.producing import CLIENT
from tests.clients.reporting import conversations, ready, stored
from tests.clients.sdks import packages

README = (CLIENT.parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINKS = re.findall(r"\]\(([\w./-]+)\)", README)
TURNS = {"chat-9": 1, "chat-10": 1, "chat-11": 1, "chat-12": 2, "chat-13": 1, "chat-14": 1}
CALLS = {"chat-9": 1, "chat-10": 1, "chat-11": 3, "chat-12": 2, "chat-13": 1, "chat-14": 1}


@pytest.mark.django_db(transaction=True)
def test_the_examples_work_as_written(live_server, monkeypatch, tmp_path, capsys):
    key = ready()
    for name, module in packages().items():
        monkeypatch.setitem(sys.modules, name, module)
    here = {"http://127.0.0.1:8000": live_server.url, "pk_...": key, "/var/spool/parley": str(tmp_path / "spool")}
    page = {}
    for example in EXAMPLES:
        for written, meant in here.items():
            example = example.replace(written, meant)
        exec(example, page)
    assert page["parley"].close()
    told = conversations(key)
    assert {name: conversation["turns"] for name, conversation in told.items()} == TURNS
    assert {name: conversation["calls"] for name, conversation in told.items()} == CALLS
    assert {name: told[name]["outcome"] for name in ("chat-12", "chat-14")} == {
        "chat-12": "escalated",
        "chat-14": "resolved",
    }
    assert len(stored()) == sum(CALLS.values()) + 2  # and two closes
    assert "unreadable no usage in a response" in capsys.readouterr().out
    assert [*(tmp_path / "spool").iterdir()] == []


def test_the_page_has_its_examples_and_its_links_lead_somewhere():
    assert len(EXAMPLES) == 7
    assert len(LINKS) == 2
    assert [link for link in LINKS if not (CLIENT.parent / link).is_file()] == []


def test_every_setting_is_on_the_page_with_its_default():
    for name, setting in inspect.signature(Parley).parameters.items():
        assert re.search(rf"`{name}[`=]", README) or name in ("url", "key")
        if isinstance(setting.default, float) or name == "batch_events":
            assert f"`{name}` ({setting.default:g}" in README


def test_every_kind_of_problem_is_on_the_page():
    explained = re.findall(r"^        (\w+) {2,}", Problem.__doc__, re.MULTILINE)
    rows = README.partition("| status | meaning |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`[,|\s]", rows)) == sorted(explained)
