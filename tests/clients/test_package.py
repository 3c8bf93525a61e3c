"""The client is a package of its own: the standard library, Python 3.9, and nothing of the house."""

import ast
import subprocess
import sys

import pytest

from tests.clients.producing import CLIENT

MODULES = sorted((CLIENT / "parley_client").glob("*.py"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module


def only_for_types(tree):
    """What is imported under `if TYPE_CHECKING:`, and never when it runs."""
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {name for check in checks for name in imported(check)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_needs_nothing_but_the_standard_library(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    packages = {name.partition(".")[0] for name in {*imported(tree)} - only_for_types(tree)}
    assert packages <= {*sys.stdlib_module_names, "parley_client"}


def test_it_works_without_any_other_package():
    code = "import parley_client, sys; print(sorted(set(sys.modules) & {'django', 'metering', 'msgspec', 'config'}))"
    command = [sys.executable, "-S", "-W", "error", "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(CLIENT)}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_it_says_that_it_is_typed():
    assert (CLIENT / "parley_client" / "py.typed").is_file()
