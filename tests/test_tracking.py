"""W&B offline: no account, no question, and every figure of the report."""

import json

import pytest

from medsafe_train.config import Config, TrackingMode, TrackingSettings
from medsafe_train.tracking import start
from tests.conftest import run_process


def test_offline_needs_no_account_and_logs_every_figure(tmp_path):
    env = {"WANDB_API_KEY": "", "WANDB_DIR": str(tmp_path), "HOME": str(tmp_path), "WANDB_MODE": "offline"}
    done = run_process(
        "+recipe=smoke", f"outputs={tmp_path / 'o'}", "tracking.mode=offline", "finetune.merge=false", env=env
    )
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "o" / "runs" / "smoke").iterdir())
    files = list(folder.rglob("*.wandb"))
    assert len(files) == 1
    stored = files[0].read_bytes()
    made = json.loads((folder / "report.json").read_text())
    for key in made["figures"]:
        assert key.encode() in stored


def test_disabled_imports_no_wandb(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with start(Config(), tmp_path) as tracker:
        tracker.finish({}, None)
    assert tracker.run is None and not list(tmp_path.iterdir())


def test_wandb_failing_at_the_start_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    import wandb

    def fails(**_):
        raise RuntimeError("no connection")

    monkeypatch.setattr(wandb, "init", fails)
    with start(Config(tracking=TrackingSettings(mode=TrackingMode.online)), tmp_path) as tracker:
        assert tracker.run is None
    assert "no connection" in capsys.readouterr().out


def test_a_failing_pipeline_ends_the_wandb_run_as_failed(tmp_path, monkeypatch):
    import wandb

    ended = []

    class Run:
        def finish(self, exit_code):
            ended.append(exit_code)

    monkeypatch.setattr(wandb, "init", lambda **_: Run())
    with pytest.raises(ValueError), start(Config(tracking=TrackingSettings(mode=TrackingMode.offline)), tmp_path):
        raise ValueError
    assert ended == [1]
