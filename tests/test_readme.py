"""Every command in the README is composed here; the two of its first lines are run by CI and by hand."""

import re
import shlex
import subprocess

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    set(re.findall(r"^\s+(?:\.venv/bin/)?python -m medsafe_train ([^#\n]*?)\s*(?:#.*)?$", README, re.MULTILINE))
)
TARGETS = sorted(set(re.findall(r"(?:^\s+|`)make (\w+)", README, re.MULTILINE)))


def test_commands_are_found():
    assert len(COMMANDS) >= 8 and {"demo", "test"} <= set(TARGETS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_composes(cli, command):
    arguments = shlex.split(command)
    if "hydra/launcher" in command:  # other processes, or another machine: composed only
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install medsafe_train[launchers]")
        code, _, err = cli("--cfg", "hydra", *_first_trial(a for a in arguments if a != "--multirun"))
    elif "--help" in arguments or "--cfg" in arguments:
        code, _, err = cli(*arguments)
    else:
        flags = [a for a in arguments if a.startswith("--")]
        rest = [a for a in arguments if not a.startswith("--") and not a.startswith("data_folder=")]
        # Composed and checked, not run: --cfg job stops there.
        code, _out, err = (
            cli("--cfg", "job", *rest)
            if "--multirun" not in flags
            else cli(*flags, *_first_trial(rest), "preflight=true")
        )
    assert code == 0, err


def _first_trial(arguments):
    return [a.split(",")[0] if "=[" not in a else a for a in arguments]


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_the_tree_names_what_is_there():
    tree = README.split("## The tree")[1].split("```")[1]
    for name in re.findall(r"^\s*([\w./{}-]+/|[\w.-]+\.(?:py|toml|md|lock|yaml)|Makefile)(?:\s|$)", tree, re.MULTILINE):
        assert list(ROOT.rglob(name.rstrip("/"))), name


def test_a_row_of_the_table_has_what_a_row_of_the_report_has():
    """The first table is the demo's: every row has before, after, difference and items."""
    table = [
        line
        for line in README.split("three seeds")[0].splitlines()
        if line.startswith("| harmful refused") or line.startswith("| benign refused")
    ]
    assert table and all(line.count("|") == 6 for line in table)
