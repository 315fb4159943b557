"""Reports of finished runs, and the trials that they make: runs that differ in nothing but their seed are one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import repeated
from medsafe_train.config import CheckpointGateSettings, UserError
from medsafe_train.evidence import gate, pooled
from medsafe_train.evidence.claims import SCORES, claims
from medsafe_train.judges.verdict import HIGHEST, LOWEST
from medsafe_train.measured import compared

REPORT = "report.json"
# Settings that tell no trial from another: what it is called, and what is asked of it afterwards.
NO_TRIAL = ("name", "task", "runs", "gate", "seed")
# Figures in nats; all others are shares or scores.
UNBOUNDED = ("kl_per_token", "correct_loglikelihood", "text_loglikelihood")
# What has to be the same for two figures to be comparable, and where a report says it.
SAME = {
    "base model": lambda r: [r["model"].get(key) for key in ("path", "revision", "dtype", "quantization")],
    "judge": lambda r: r["judge"].get("name"),
    "prompt sets": lambda r: [[s["name"], s["n"], s["sha256"]] for s in r["prompt_sets"]],
    "benchmarks": lambda r: [[b["name"], b["n"]] for b in r["benchmarks"]],
}


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    report: dict[str, Any]
    settings: dict[str, Any]
    """flat, by dotted name"""

    @property
    def seed(self) -> int:
        return int(self.report["settings"].get("seed", 0))

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        return self.report["figures"]


@dataclass
class Trial:
    """Runs of the same settings, one a seed."""

    name: str
    settings: dict[str, Any]
    """those in which the trials differ"""
    runs: list[Run]
    figures: dict[str, dict[str, Any]]
    """of the run; where there are several seeds, mean, spread and interval over them"""
    gates: list[dict[str, Any]]
    """by run"""
    objectives: dict[str, float | None] = field(default_factory=dict)
    front: bool = False

    @property
    def verdict(self) -> str:
        """passed when every seed passes, failed when one fails."""
        return _worst([found["verdict"] for found in self.gates])

    @property
    def criteria(self) -> dict[str, str]:
        """The verdict on each of the gate's criteria: failed where a seed fails it, on any set."""
        found: dict[str, list[str]] = {}
        for criterion in (criterion for made in self.gates for criterion in made["criteria"]):
            found.setdefault(criterion["name"], []).append(criterion["verdict"])
        return {name: _worst(verdicts) for name, verdicts in sorted(found.items())}

    def record(self) -> dict[str, Any]:
        """For compare.json."""
        return {
            "name": self.name,
            "settings": self.settings,
            "seeds": [run.seed for run in self.runs],
            "runs": [str(run.folder) for run in self.runs],
            **self.objectives,
            "front": self.front,
            "gate": self.verdict if self.gates else None,
            "criteria": self.criteria,
            "figures": self.figures,
        }


def _worst(verdicts: list[str]) -> str:
    return next((v for v in (gate.FAILED, gate.UNDECIDED) if v in verdicts), gate.PASSED)


def against(criteria: dict[str, str]) -> str:
    """What stands in the way of a trial: the criteria that failed, and apart from them those that are only undecided."""
    failed, undecided = (
        ", ".join(name for name, verdict in criteria.items() if verdict == wanted)
        for wanted in (gate.FAILED, gate.UNDECIDED)
    )
    return "; ".join([*([failed] if failed else []), *([f"undecided: {undecided}"] if undecided else [])])


def read(folders: list[str]) -> list[Run]:
    """The finished runs in folders of runs, sweeps included, in order of their paths; UserError where there are none."""
    if not folders:
        raise UserError("nothing to compare: name runs=[FOLDER,FOLDER], each a run's folder or a sweep's")
    found: dict[Path, Run] = {}
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            raise UserError(f"runs: {name}: no such folder; name a run's folder, or one that holds several")
        reports = [folder / REPORT] if (folder / REPORT).is_file() else sorted(folder.rglob(REPORT))
        if not reports:
            raise UserError(f"runs: {name} holds no {REPORT}: name the folder of a finished run, or of a sweep")
        found |= {path.parent.resolve(): _run(path) for path in reports}
    _of_one_version(list(found.values()))
    return list(found.values())


def _of_one_version(runs: list[Run]) -> None:
    # The same key may be another figure in another version.
    by_version = {str(run.report.get("version")): run.folder for run in runs}
    if len(by_version) > 1:
        those = " and ".join(f"{version} ({folder})" for version, folder in sorted(by_version.items()))
        raise UserError(
            f"runs: reports of versions {those}, whose figures are not the same: name runs of one version, or make the older ones again"
        )


def _run(path: Path) -> Run:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        run = Run(path.parent, report, flat(report["settings"]))
        assert {"value", "n"} <= set(next(iter(run.figures.values())))
        for same in SAME.values():
            same(report)
        return run
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, AssertionError):
        raise UserError(
            f"{path} is not a report of this program: take it out of the folder, or make it again"
        ) from None


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def differing(runs: list[Run]) -> list[str]:
    """The settings in which the runs differ, beside their seeds."""
    keys = sorted({key for run in runs for key in run.settings if key.partition(".")[0] not in NO_TRIAL})
    return [key for key in keys if len({_text(run.settings.get(key)) for run in runs}) > 1]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def grouped(runs: list[Run], thresholds: CheckpointGateSettings) -> list[Trial]:
    """The runs as trials, in the order in which they first come."""
    keys = differing(runs)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_text([run.settings.get(key) for key in keys]), []).append(run)
    found = []
    for same in groups.values():
        settings = {key: same[0].settings.get(key) for key in keys}
        same = sorted(same, key=lambda run: run.seed)
        gates = [_gate(run.figures, thresholds) for run in same if compared(run.report)]
        found.append(Trial(_name(settings, same[0], keys), settings, same, over_seeds(same), gates))
    return found


def _name(settings: dict[str, Any], run: Run, keys: list[str]) -> str:
    # The last part of a setting's name says enough where no other setting shares it.
    leaves = [key.rpartition(".")[2] for key in keys]
    short = {key: leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)}
    parts = [f"{short[key]}={shown(value)}" for key, value in settings.items()]
    return " ".join(parts) or str(run.report.get("name", "run"))


def shown(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _gate(figures: dict[str, dict[str, Any]], thresholds: CheckpointGateSettings) -> dict[str, Any]:
    figures = dict(figures)
    if f"delta/{pooled.PLACE}" not in figures:  # a report from before there was a pool
        pooled.accuracy(figures)
    return gate.gate(figures, claims(figures, thresholds), thresholds)


def over_seeds(runs: list[Run]) -> dict[str, dict[str, Any]]:
    """The figures of a run; of several seeds mean, 95 % interval and spread `sd` of each, over seeds that have it.

    Runs of one seed twice count once: the same settings give the same figures.
    """
    by_seed = {run.seed: run for run in runs}
    if len(by_seed) == 1:
        return {**runs[-1].figures}
    found = {}
    for key in sorted({key for run in by_seed.values() for key in run.figures}):
        figures = [run.figures[key] for run in by_seed.values() if key in run.figures]
        values = [figure["value"] for figure in figures if figure["value"] is not None]
        items = max(f["n"] for f in figures)
        found[key] = {**repeated.over_seeds(values, _within(key), items), "values": values, "items": items}
    return found


def _within(key: str) -> tuple[float, float] | None:
    # Between which values a figure lies: a share unless it is a score, or without bounds.
    arm, _, _, metric = key.split("/")
    if metric in UNBOUNDED:
        return None
    low, high = (LOWEST, HIGHEST) if metric in SCORES else (0.0, 1.0)
    return (low - high, high - low) if arm == "delta" else (low, high)


def notes(runs: list[Run]) -> list[str]:
    """What the reader has to know: in what the runs are not comparable, and whether seeds are few."""
    found = []
    for what, same in SAME.items():
        kinds = {_text(same(run.report)) for run in runs}
        if len(kinds) > 1:
            found.append(f"The runs differ in their {what} ({len(kinds)} kinds): compare their figures with care.")
    seeds = {run.seed for run in runs}
    if len(seeds) == 1 and len(runs) > 1:
        found.append(
            "Every run has the same seed: how much chance moves a figure is not known; three seeds would show it."
        )
    return found
