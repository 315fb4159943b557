"""The run in Weights & Biases: settings, stages, figures, transcripts, plots, artifacts; the only file that imports wandb."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact
from medsafe_train.comparison import Comparison
from medsafe_train.config import Config, TrackingMode, TrackingSettings
from medsafe_train.evidence import gate
from medsafe_train.markdown import visible
from medsafe_train.provenance import plain
from medsafe_train.report_page import STYLE, plots

LEFT_OUT = "(left out: tracking.harmful_text=true logs it)"
COLUMNS = (
    *("set", "id", "kind", "principle", "attack", "change", "request"),
    *("before", "before_label", "before_score", "after", "after_label", "after_score"),
)


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    folder: Path
    report: dict[str, Any]
    items: list[dict[str, Any]] = field(default_factory=list)
    """its transcripts, as report_page.transcripts.collect gives them"""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """the records of training.jsonl"""
    used: dict[str, Artifact] = field(default_factory=dict)
    """what the weights were made from, by name"""
    weights: tuple[Artifact, Path] | None = None
    """the artifact that holds them, and their folder in it"""


class Tracker:
    """Logs a finished pipeline run; without a W&B run it does nothing."""

    def __init__(self, run: Any = None, settings: TrackingSettings | None = None):
        self.run = run
        self.settings = settings or TrackingSettings()
        self.exit_code = 0

    def finish(self, found: Finished) -> None:
        """Log everything; each part by itself, so that one that fails takes no other along."""
        self.exit_code = gate.exit_code(found.report)
        parts: dict[str, Callable[[Finished], None]] = {
            "training curve": self._curve,
            "figures": self._figures,
            "transcripts": self._transcripts,
            "plots": self._plots,
            "artifacts": self._artifacts,
        }
        for what, log in parts.items() if self.run is not None else ():
            try:
                log(found)
            except Exception as error:
                progress.warn(f"W&B failed on the {what} ({_line(error)}); the run and its report are whole")

    def _curve(self, found: Finished) -> None:
        for entry in found.curve:
            numbers = {f"finetune/{key}": value for key, value in entry.items() if key != "step"}
            self.run.log(numbers, step=entry["step"])

    def _figures(self, found: Finished) -> None:
        """Every figure under its own key, with its interval and number of items beside it; the gate; seconds and joules by stage."""
        numbers: dict[str, Any] = {f"seconds/{stage}": took for stage, took in progress.seconds.items()}
        numbers |= {f"joules/{stage}": taken for stage, taken in progress.joules.items()}
        for key, figure in found.report["figures"].items():
            numbers |= {key: figure["value"], f"{key}/n": figure["n"]}
            if figure["ci95"]:
                numbers |= {f"{key}/ci95_low": figure["ci95"][0], f"{key}/ci95_high": figure["ci95"][1]}
        if found.report.get("gate"):
            numbers["gate"] = found.report["gate"]["verdict"]
        # What a sweep may choose by: validation requests, which no figure of the report is about.
        curve = found.report.get("scale") or {"points": [], "chosen": None}
        for point in curve["points"]:
            if point["scale"] == curve["chosen"]:
                numbers["validation/youden"] = point["youden"]
        self.run.summary.update(numbers)

    def _transcripts(self, found: Finished) -> None:
        import wandb

        rows = [row(item, self.settings.harmful_text) for item in found.items if item["kind"] != "question"]
        self.run.log({"transcripts": wandb.Table(columns=list(COLUMNS), data=rows)})

    def _plots(self, found: Finished) -> None:
        import wandb

        for plot in plots.draw(found.report, found.items, found.curve):
            page = f"<style>{STYLE}</style><figure><figcaption>{plot.title}</figcaption>{plot.svg}</figure>"
            self.run.log({f"plots/{plot.name}": wandb.Html(page, inject=False)})

    def _artifacts(self, found: Finished) -> None:
        """The report as a file; weights and data as references to where they lie, so that nothing large is read or copied."""
        for name, made in found.used.items():
            self._use(_reference(name, name, made, made.folder))
        if found.weights:
            weights = _reference("checkpoint", "model", *found.weights)
            weights.metadata["gate"] = (found.report.get("gate") or {}).get("verdict")
            self.run.log_artifact(weights)
        self.run.log_artifact(self._report(found))

    def _report(self, found: Finished) -> Any:
        import wandb

        artifact = wandb.Artifact(_slug(f"report-{found.report['name']}"), type="report")
        if self.settings.harmful_text:
            for name in ("report.json", "report.md", "report.html"):
                artifact.add_file(str(found.folder / name))
        else:  # its samples are harmful requests and answers to them
            with artifact.new_file("report.json", mode="w", encoding="utf-8") as file:
                json.dump({**found.report, "samples": []}, file, indent=2, ensure_ascii=False)
        return artifact

    def _use(self, artifact: Any) -> None:
        # The public use_artifact refuses offline, where the record that it would write is what `wandb sync` sends later.
        if self.run.settings.mode == "offline":
            self.run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            self.run.use_artifact(artifact)

    def compared(self, found: Comparison) -> None:
        """Log a comparison: a table of the trials, each objective of each, the best one, and the page with its plots."""
        if self.run is None:
            return
        import wandb

        heads: list[str | int] = ["trial", "seeds", "harm", "over_refusal", "capability", "front", "gate"]
        trials = [{**t, "trial": t["name"], "seeds": len(set(t["seeds"]))} for t in found.result["trials"]]
        try:
            rows = [[trial[head] for head in heads] for trial in trials]
            self.run.log({"compare/trials": wandb.Table(columns=heads, data=rows)})
            for trial in trials:
                for name in ("harm", "over_refusal", "capability"):
                    self.run.summary[f"compare/{trial['name']}/{name}"] = trial[name]
            self.run.summary["compare/best"] = found.result["best"]
            artifact = wandb.Artifact("compare", type="comparison")
            for name in found.files:
                artifact.add_file(str(found.folder / name))
            self.run.log_artifact(artifact)
        except Exception as error:
            progress.warn(f"W&B failed ({error}); the comparison is whole")


def row(item: dict[str, Any], harmful_text: bool) -> list[Any]:
    """A transcript as a row of the table; without `harmful_text`, neither harmful requests nor answers that go along with them."""
    hides = item["kind"] == "harmful" and not harmful_text
    found = {**item, "request": LEFT_OUT if hides else visible(item["prompt"])}
    for arm in ("before", "after"):
        answer = item.get(arm) or {"response": ""}
        hidden = hides and _goes_along(answer) and answer["response"]
        found[arm] = LEFT_OUT if hidden else visible(answer["response"])
        found |= {f"{arm}_{name}": answer.get(name) for name in ("label", "score")}
    return [found[column] for column in COLUMNS]


def _goes_along(answer: dict[str, Any]) -> bool:
    # An answer may decline in words and help all the same: in part, or as the judge of harm finds.
    return answer.get("refused") is not True or answer.get("label") == "partial_refusal" or bool(answer.get("harmful"))


def _reference(name: str, kind: str, made: Artifact, folder: Path) -> Any:
    import wandb

    files = made.json(artifacts.MADE_FROM)["files"]
    artifact = wandb.Artifact(_slug(f"{name}-{made.id}"), type=kind, metadata={"id": made.id, "sha256": files})
    artifact.add_reference(folder.resolve().as_uri(), checksum=False)  # the sha256 above are what tells them apart
    return artifact


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)[:100]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextmanager
def start(config: Config, folder: Path) -> Iterator[Tracker]:
    """A W&B run around the pipeline; offline needs no account, and W&B failing never stops the pipeline.

    Where an online run cannot begin it is kept offline instead, and can be sent later.
    """
    if config.tracking.mode is TrackingMode.disabled:
        yield Tracker()
        return
    with _data_beside(folder):
        run, code = _begin(config, folder), 1
        tracker = Tracker(run, config.tracking)
        try:
            yield tracker
            code = tracker.exit_code
        finally:
            try:
                if run is not None:
                    run.finish(exit_code=code)
                    progress.heading("wandb", _where(run))
            except Exception as error:
                progress.warn(f"W&B failed at the end ({_line(error)}); the run and its report are whole")


def _where(run: Any) -> str:
    # The folder that holds the run's file, and beside it what it logged as files.
    return str(run.url or f"wandb sync {shlex.quote(str(Path(run.dir).parent))} sends this offline run")


@contextmanager
def _data_beside(folder: Path) -> Iterator[None]:
    # Else files that wait to be sent lie in the home directory, away from the run that they belong to.
    name = "WANDB_DATA_DIR"
    given = os.environ.get(name)
    os.environ[name] = given or str(folder.resolve() / "wandb")
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(name, None)


def _begin(config: Config, folder: Path) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    wished = config.tracking.mode
    for mode in [wished, *([TrackingMode.offline] if wished is TrackingMode.online else [])]:
        try:
            return wandb.init(
                project=config.tracking.project,
                name=config.name,
                mode=mode.value,
                dir=str(folder),
                config=plain(asdict(config)),
                settings=wandb.Settings(**QUIET),
            )
        except Exception as error:
            instead = (
                "it is kept offline, and wandb sync sends it" if mode is TrackingMode.online else "it goes on without"
            )
            progress.warn(f"W&B could not start ({_line(error)}); {instead}")
            with contextlib.suppress(Exception):
                wandb.teardown()
    return None


# Nothing of the machine's environment, command line or console goes into a run, and nobody waits for ever for a server.
QUIET: dict[str, Any] = {
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "silent": True,
    "init_timeout": 30,
    "finish_timeout": 120,
}
