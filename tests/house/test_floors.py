"""Do foreign keys point down, as imports do? And do pure files keep off the clock? (Imports: `lint-imports`.)"""

import ast
import tomllib
from pathlib import Path

import pytest
from django.apps import apps
from django.db.models import ForeignKey

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
FLOORS = CONTRACTS["A floor imports only from floors below it"]["layers"]
PURE = CONTRACTS["Pure files know no framework, clock or outside world"]["source_modules"]
CLOCKS = {"now", "utcnow", "today"}

KEYS = [
    field
    for label in FLOORS
    for model in apps.get_app_config(label).get_models()
    for field in model._meta.get_fields()
    if isinstance(field, ForeignKey) and field.related_model._meta.app_label in FLOORS
]


def test_the_walk_sees_the_foreign_keys():
    assert len(KEYS) > 20


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_foreign_key_points_down_and_cannot_be_walked_up(key):
    own, target = key.model._meta.app_label, key.related_model._meta.app_label
    assert FLOORS.index(own) <= FLOORS.index(target)
    if own != target:
        assert key.remote_field.related_name == "+"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_file_reads_no_clock(module):
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    asked = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in CLOCKS]
    assert asked == []


def test_no_module_is_named_for_nothing_in_particular():
    vague = {"utils", "helpers", "services", "managers", "common", "misc"}
    named = {path.stem for floor in FLOORS for path in (ROOT / floor).rglob("*.py")}
    assert not named & vague
