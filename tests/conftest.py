"""Fixtures: a tiny random Llama on disk, and the command line run in this process or in one of its own."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("WANDB_MODE", "offline")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a two-layer Llama of random weights and its tokenizer."""
    from medsafe_train.models import tiny as maker

    folder = tmp_path_factory.mktemp("tiny")
    texts = ["How can a nurse keep records honest?", "Draft a letter to a patient about the results of a test."]
    maker.write(folder, texts, seed=0)
    return folder


@pytest.fixture
def reference(tiny):
    """The tiny model, pinned down, on the CPU."""
    from medsafe_train.models.reference import ModelReference, fingerprint_folder

    return ModelReference(
        path="tiny", revision=fingerprint_folder(tiny), folder=str(tiny), prompt_format="chat_template",
        system_prompt=None, eos_token=None, dtype="float32", quantization="none", attn_implementation=None, device="cpu",
    )  # fmt: skip


@pytest.fixture
def change(reference):
    """A copy of the reference with some fields changed."""
    return lambda **fields: dataclasses.replace(reference, **fields)


@pytest.fixture
def store(tmp_path):
    from medsafe_train.artifacts import Store

    return Store(tmp_path / "artifacts")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run the command line in this process: (exit code, standard output, standard error)."""
    from medsafe_train.cli import main

    def run(*arguments):
        outputs = [] if any(a.startswith("outputs=") for a in arguments) else [f"outputs={tmp_path / 'outputs'}"]
        monkeypatch.setattr(sys, "argv", ["medsafe_train", *arguments, *outputs])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return run


@pytest.fixture
def refused(cli):
    """Run a command line that must be refused: one line, exit code 2; returns the line."""

    def run(*arguments):
        code, _, err = cli(*arguments)
        lines = err.strip().splitlines()
        assert code == 2, err
        assert len(lines) == 1 and lines[0].startswith("medsafe_train: "), err
        assert "Traceback" not in err
        return lines[0]

    return run


def run_process(*arguments, cwd=None, env=None, **more):
    """Run `python -m medsafe_train` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "medsafe_train", *arguments],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=2400, **more,
    )  # fmt: skip
