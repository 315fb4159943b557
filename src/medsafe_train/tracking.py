"""The run in Weights & Biases: settings, training curve, stage times, every figure; the only file that imports wandb."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import Artifact
from medsafe_train.comparison import Comparison
from medsafe_train.config import Config, TrackingMode
from medsafe_train.provenance import plain


class Tracker:
    """Logs a finished pipeline run; without a W&B run it does nothing."""

    def __init__(self, run: Any = None):
        self.run = run

    def finish(self, report: dict[str, Any], adapter: Artifact | None = None) -> None:
        """Log the training curve, the seconds a stage took, and every figure of the report under its own key."""
        if self.run is None:
            return
        try:
            self._log(report, adapter)
        except Exception as error:
            progress.warn(f"W&B failed ({error}); the run and its report are whole")

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

    def _log(self, report: dict[str, Any], adapter: Artifact | None) -> None:
        for entry in adapter.records("training.jsonl") if adapter else []:
            numbers = {f"finetune/{key}": value for key, value in entry.items() if key != "step"}
            self.run.log(numbers, step=entry["step"])
        for key, figure in report["figures"].items():
            self.run.summary[key] = figure["value"]
            if figure["ci95"]:
                self.run.summary[f"{key}/ci95_low"], self.run.summary[f"{key}/ci95_high"] = figure["ci95"]
        # What a sweep may choose by: validation requests, which no figure of the report is about.
        curve = report.get("scale")
        for point in (p for p in curve["points"] if p["scale"] == curve["chosen"]) if curve else ():
            self.run.summary["validation/youden"] = point["youden"]
        for stage, took in progress.seconds.items():
            self.run.summary[f"seconds/{stage}"] = took


@contextmanager
def start(config: Config, folder: Path) -> Iterator[Tracker]:
    """A W&B run around the pipeline; offline needs no account, and W&B failing never stops the pipeline."""
    if config.tracking.mode is TrackingMode.disabled:
        yield Tracker()
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    try:
        run = wandb.init(
            project=config.tracking.project,
            name=config.name,
            mode=config.tracking.mode.value,
            dir=str(folder),
            config=plain(asdict(config)),
        )
    except Exception as error:
        progress.warn(f"W&B could not start ({error}); the run goes on without it")
        yield Tracker()
        return
    failed = 1
    try:
        yield Tracker(run)
        failed = 0
    finally:
        try:
            run.finish(exit_code=failed)
        except Exception as error:
            progress.warn(f"W&B failed at the end ({error}); the run and its report are whole")
