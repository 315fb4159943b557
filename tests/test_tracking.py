"""W&B: offline without an account or a question, read back and compared with report.json; a failing W&B costs nothing."""

import json
from pathlib import Path

import pytest

from medsafe_train import tracking
from medsafe_train.artifacts import Store
from medsafe_train.config import Config, TrackingMode, TrackingSettings
from medsafe_train.tracking import Finished, start
from tests import report_samples, wandb_file
from tests.conftest import run_process

CANARY = "canary0123456789abcdef0123456789abcdef0123"  # as long as a W&B key


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """The folder of a finished offline run, its `.wandb` file read back, and where all of it lies."""
    place = tmp_path_factory.mktemp("offline")
    secrets = dict.fromkeys(("WANDB_API_KEY", "HF_TOKEN", "OPENAI_API_KEY", "MY_SECRET"), CANARY)
    env = {**secrets, "HOME": str(place), "WANDB_MODE": "offline", "WANDB_DIR": str(place)}
    done = run_process("+recipe=smoke", f"outputs={place / 'o'}", "tracking.mode=offline", "seed=3", env=env)
    assert done.returncode == 0, done.stderr
    assert "W&B failed" not in done.stdout and "login" not in (done.stdout + done.stderr).lower()
    folder = next((place / "o" / "runs" / "smoke").iterdir())
    (file,) = folder.rglob("*.wandb")
    # The last but one line, before the gate's: what sends this run.
    sends = done.stdout.replace("\n", "").split("wandb sync ")[1]
    assert sends.startswith(str(file.parent)) and "offline" in sends
    return folder, wandb_file.read(file), place


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_every_figure_is_there_under_its_key(offline):
    folder, found, _ = offline
    figures = report_of(folder)["figures"]
    assert len(figures) > 50
    for key, figure in figures.items():
        assert found["summary"][key] == figure["value"] and found["summary"][f"{key}/n"] == figure["n"]
        if figure["ci95"]:
            assert [found["summary"][f"{key}/ci95_{end}"] for end in ("low", "high")] == figure["ci95"]
    logged = {key for key in found["summary"] if key.startswith(("before/", "after/", "delta/"))}
    assert {key for key in logged if not key.endswith(("/n", "/ci95_low", "/ci95_high"))} == set(figures)
    assert found["summary"]["gate"] == report_of(folder)["gate"]["verdict"] and found["exit_code"] == 0


def test_settings_stage_times_and_training_curve_are_there(offline):
    folder, found, _ = offline
    assert found["config"]["seed"] == 3 and found["config"]["finetune"]["r"] == 4
    assert set(found["config"]) >= set(report_of(folder)["settings"])
    seconds = json.loads((folder / "timings.json").read_text())["seconds"]
    assert {key for key in found["summary"] if key.startswith("seconds/")} == {f"seconds/{stage}" for stage in seconds}
    joules = json.loads((folder / "timings.json").read_text())["joules"]
    assert {key for key in found["summary"] if key.startswith("joules/")} == {f"joules/{stage}" for stage in joules}
    places = json.loads((folder / "artifacts.json").read_text())
    with open(f"{places['finetune']}/training.jsonl") as file:
        losses = [entry["loss"] for entry in map(json.loads, file) if "loss" in entry]
    assert [step["finetune/loss"] for step in found["history"] if "finetune/loss" in step] == losses


def test_transcripts_and_plots_are_there_without_harmful_text(offline):
    folder, found, _ = offline
    (table,) = folder.rglob("transcripts*.table.json")
    table = json.loads(table.read_text())
    assert tuple(table["columns"]) == tracking.COLUMNS and len(table["data"]) == 4 * 9
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    for row in rows:
        assert (row["request"] == tracking.LEFT_OUT) == (row["kind"] == "harmful")
    samples = report_of(folder)["samples"]
    asked = [s["prompt"] for s in samples if s["kind"] == "harmful"]
    assert asked
    for file in (p for p in (folder / "wandb").rglob("*") if p.is_file()):
        text = file.read_bytes()
        assert not [prompt for prompt in asked if prompt.encode() in text], file
    plots = {key.partition(".")[0] for step in found["history"] for key in step if key.startswith("plots/")}
    assert {"plots/plane", "plots/attacks", "plots/questions", "plots/training"} <= plots


def test_checkpoint_and_report_are_artifacts_with_what_they_came_from(offline):
    folder, found, _ = offline
    by_type = {artifact.type: artifact for artifact in found["artifacts"]}
    assert {"demonstrations", "adapter", "model", "report"} <= set(by_type)
    ids = report_of(folder)["artifacts"]
    assert by_type["model"].name == f"checkpoint-{ids['checkpoint']}"
    for kind, used in (("demonstrations", True), ("adapter", True), ("model", False), ("report", False)):
        assert by_type[kind].use_after_commit is used, kind
    # References: where the files lie, and no copy of them.
    contents = {entry.path: entry for entry in by_type["model"].manifest.contents}
    assert contents["model.safetensors"].ref.startswith("file://") and not contents["model.safetensors"].local_path
    assert json.loads(by_type["model"].metadata)["sha256"]["merged/model.safetensors"]
    sent = next(entry for entry in by_type["report"].manifest.contents if entry.path == "report.json")
    kept = json.loads(Path(sent.local_path).read_text())
    assert kept["figures"] == report_of(folder)["figures"] and kept["samples"] == []


def test_no_secret_of_the_environment_is_in_any_file(offline):
    _, _, place = offline
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_harmful_text_is_logged_when_asked_for():
    item = report_samples.items(20)[0]
    complied = {
        **item,
        "kind": "harmful",
        "before": {**item["before"], "refused": False},
        "after": {**item["after"], "refused": True, "label": "refusal"},
    }
    row = lambda item, asked: dict(zip(tracking.COLUMNS, tracking.row(item, asked), strict=True))  # noqa: E731
    shown, hidden = row(complied, True), row(complied, False)
    assert shown["request"] == item["prompt"] and shown["before"] == item["before"]["response"]
    assert hidden["request"] == hidden["before"] == tracking.LEFT_OUT and hidden["after"] == item["after"]["response"]
    for helps in ({"label": "partial_refusal"}, {"harmful": True}):
        half = {**complied, "after": {**complied["after"], **helps}}
        assert row(half, False)["after"] == tracking.LEFT_OUT and row(half, True)["after"] == item["after"]["response"]
    benign = {**complied, "kind": "benign"}
    assert row(benign, False) == row(benign, True) and row(benign, False)["before"] == item["before"]["response"]


def test_a_row_is_inert_in_a_terminal():
    item = report_samples.items(20, answer="\x1b[31mred\u202e")[-1]
    assert tracking.row(item, True)[tracking.COLUMNS.index("after")] == "[31mred"


def test_disabled_imports_no_wandb(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with start(Config(), tmp_path) as tracker:
        tracker.finish(Finished(tmp_path, {}))
    assert tracker.run is None and not list(tmp_path.iterdir())


def test_an_online_run_that_cannot_begin_is_kept_offline(tmp_path, monkeypatch, capsys):
    import wandb

    begun = []

    def init(mode, **_):
        begun.append(mode)
        if mode == "online":
            raise RuntimeError("no connection")
        return FailingRun()

    monkeypatch.setattr(wandb, "init", init)
    with start(Config(tracking=TrackingSettings(mode=TrackingMode.online)), tmp_path) as tracker:
        assert tracker.run is not None
    assert begun == ["online", "offline"]
    said = capsys.readouterr().out
    assert "no connection" in said and "wandb sync" in said


def test_wandb_failing_at_the_start_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    import wandb

    def fails(**_):
        raise RuntimeError("no disk")

    monkeypatch.setattr(wandb, "init", fails)
    with start(Config(tracking=TrackingSettings(mode=TrackingMode.offline)), tmp_path) as tracker:
        assert tracker.run is None
        tracker.finish(Finished(tmp_path, {"figures": {}}))
    assert "no disk" in capsys.readouterr().out


class FailingRun:
    """A run whose connection breaks at a given call; remembers what came through."""

    def __init__(self, breaks=()):
        self.breaks, self.summary, self.logged, self.artifacts, self.ended = breaks, {}, [], [], []
        self.settings = type("Settings", (), {"mode": "online"})
        self.url, self.dir = "https://wandb.example/run", ""

    def log(self, values, step=None):
        if any(key.startswith(self.breaks) for key in values if self.breaks):
            raise ConnectionError("broken off")
        self.logged += values

    def use_artifact(self, artifact):
        if "use" in self.breaks:
            raise ConnectionError("broken off")
        self.artifacts.append(artifact.type)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact.type)

    def finish(self, exit_code):
        self.ended.append(exit_code)
        if "finish" in self.breaks:
            raise ConnectionError("broken off")


@pytest.mark.parametrize("breaks", [("finetune/",), ("transcripts",), ("plots/",), ("use",), ("finish",)])
def test_online_breaking_off_in_the_middle_loses_nothing_else(tmp_path, monkeypatch, capsys, breaks):
    import wandb

    run = FailingRun(breaks)
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    items = report_samples.items(40)
    report = report_samples.report(items)
    made = Store(tmp_path / "artifacts").make("demonstrations", {"x": 1}, lambda folder: (folder / "a").write_text("a"))
    finished = Finished(tmp_path, report, items, report_samples.curve(5), {"demonstrations": made}, (made, made.folder))
    with start(Config(tracking=TrackingSettings(mode=TrackingMode.online)), tmp_path) as tracker:
        tracker.finish(finished)
    said = capsys.readouterr().out
    assert run.ended == [0] and said.count("broken off") == 1
    assert (run.url in said) == (breaks != ("finish",))
    assert run.summary["after/medical_qa/medical_questions/accuracy"] == 0.4 and run.summary["validation/youden"] == 0.7
    for part, key in (("finetune/", "finetune/loss"), ("transcripts", "transcripts"), ("plots/", "plots/plane")):
        assert (key in run.logged) == (part not in breaks)
    assert ("report" in run.artifacts) == ("use" not in breaks)


def test_a_gate_that_ends_the_run_with_3_ends_the_wandb_run_so(tmp_path, monkeypatch):
    import wandb

    run = FailingRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    stopped = {"verdict": "failed", "enforced": True, "stops": True, "criteria": []}
    with start(Config(tracking=TrackingSettings(mode=TrackingMode.offline)), tmp_path) as tracker:
        tracker.finish(Finished(tmp_path, {"figures": {}, "gate": stopped}, []))
    assert run.ended == [3]


def test_a_failing_pipeline_ends_the_wandb_run_as_failed(tmp_path, monkeypatch):
    import wandb

    run = FailingRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    with pytest.raises(ValueError), start(Config(tracking=TrackingSettings(mode=TrackingMode.offline)), tmp_path):
        raise ValueError
    assert run.ended == [1]
