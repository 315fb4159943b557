"""How a run was made: what the report says of it, and the files that lead from the run's folder to the artifacts."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact
from medsafe_train.config import Config
from medsafe_train.evidence import Evaluation
from medsafe_train.judges import JUDGES, validated
from medsafe_train.models.arm import Arm
from medsafe_train.models.reference import ModelReference, packaged
from medsafe_train.preflight import Inputs
from medsafe_train.preflight.alone import Evaluated
from medsafe_train.quality import card, near_copies

# Settings that change where or how fast something is made, not what.
ELSEWHERE = ("outputs", "data_folder", "preflight", "publish", "tracking", "device")


# What a report says of training, where there was none; every report has the same keys.
NOT_TRAINED: dict[str, Any] = {
    "requests": None, "demonstrations": {}, "near_copies": {"found": 0, "dropped": 0}, "finetune": {}, "scale": None,
    "merge_check": None, "training_sets": [], "validation_sets": [],
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """What came of a run, beside its evaluations."""

    own_answers: Artifact | None
    demonstrations: Artifact
    trained: Artifact
    """the adapter as trained, at full strength"""
    adapter: Artifact
    """as published"""
    merged: Artifact | None
    divergence: dict[str, Artifact]
    """by prompt set"""

    def by_stage(self) -> dict[str, Artifact]:
        """Each under the name of the stage that made it."""
        found = {
            "demonstrations": self.demonstrations,
            self.trained.kind: self.trained,
            self.adapter.kind: self.adapter,
        }
        if start := self.trained.json(artifacts.MADE_FROM)["made_from"].get("start"):  # what DPO went on from
            found["finetune"] = Artifact(self.trained.folder.parents[1] / "finetune" / start)
        optional = {"own_answers": self.own_answers, "checkpoint": self.merged}
        found |= {name: made for name, made in optional.items() if made}
        return found | {f"after/divergence/{name}": made for name, made in self.divergence.items()}


def record(
    config: Config, inputs: Inputs, stages: Made, before: Evaluation, after: Evaluation, folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the report says of the run, and where a reader finds its results.

    Also writes `settings.yaml`, `artifacts.json` and `timings.json` (seconds, the GPUs' joules where known, host) into the run's folder; what differs
    from run to run without meaning stays out of the report.
    """
    demos, trained, adapter, merged = stages.demonstrations, stages.trained, stages.adapter, stages.merged
    made = stages.by_stage()
    if inputs.written:
        made["requests"] = inputs.written
    made |= _of_arms({"before": before, "after": after})
    training = inputs.data.training
    settings = leave(config, made, folder)
    counts = demos.json("counts.json")
    artifacts.write_text(folder / "demonstrations.md", _card(config, inputs, demos))
    about = {
        "name": config.name,
        "model": _model(inputs.model),
        "judge": validated.about(config.judge),
        "requests": inputs.written.json("counts.json") if inputs.written else None,
        "demonstrations": counts,
        "near_copies": {"found": len(inputs.data.near_copies), "dropped": inputs.data.dropped},
        "finetune": trained.json("counts.json"),
        "scale": adapter.json("curve.json") if adapter.id != trained.id else None,
        "merge_check": merged.json("merge_check.json") if merged else None,
        "prompt_sets": [s.describe() for s in inputs.data.sets],
        "training_sets": [s.describe() for s in training.harmful + training.benign + training.replay],
        "validation_sets": [s.describe() for s in training.validation],
        "benchmarks": [{**b.describe(), "of": inputs.data.whole[b.name]} for b in inputs.data.benchmarks],
        "artifacts": {name: found.id for name, found in made.items()},
        "settings": {key: value for key, value in settings.items() if key not in ELSEWHERE},
        "versions": adapter.json(artifacts.MADE_FROM)["versions"],
    }
    places = {
        "page": str(folder / "report.html"),
        "report": str(folder / "report.md"),
        "demonstrations": str(folder / "demonstrations.md"),
        "adapter": str(adapter.path("adapter")),
    }
    if merged:
        places["checkpoint"] = str(merged.path("merged"))
    return about, places


def record_evaluation(
    config: Config, inputs: Evaluated, arms: dict[str, Evaluation], moved: dict[str, Artifact], folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """The same for evaluation alone."""
    made = _of_arms(arms) | {f"after/divergence/{name}": found for name, found in moved.items()}
    settings = leave(config, made, folder)
    base = inputs.arms["before"]
    tuned = inputs.arms.get("after")
    first = next(iter(made.values()))  # of the base model: an answer, or where questions alone are asked a choice
    about = {
        "name": config.name,
        "model": _model(base.base) if isinstance(base, Arm) else {"path": base.server.model, **base.made_from()},
        "adapter": tuned.made_from().get("adapter") or tuned.made_from() if tuned else None,
        **NOT_TRAINED,
        "judge": validated.about(config.judge),
        "prompt_sets": [s.describe() for s in inputs.data.sets],
        "benchmarks": [{**b.describe(), "of": inputs.data.whole[b.name]} for b in inputs.data.benchmarks],
        "artifacts": {name: found.id for name, found in made.items()},
        "settings": {key: value for key, value in settings.items() if key not in ELSEWHERE},
        "versions": first.json(artifacts.MADE_FROM)["versions"],
    }
    return about, {"page": str(folder / "report.html"), "report": str(folder / "report.md")}


def of_judge(config: Config, model: ModelReference | None, judged: Artifact) -> dict[str, Any]:
    """What a judge's validation says of the judge; `replied` are the model ids by which a server answered."""
    settings = {key: value for key, value in plain(asdict(config.judge)).items() if key != "also"}
    made, name = judged.json("judge.json"), config.judge.name
    loaded = model.made_from() if model else None
    return {
        "judge": {"name": name, "version": JUDGES[name].version, "settings": settings, "loaded": loaded},
        "replied": made["models"],
        "tokens": made["charged"],
        "verdicts": judged.id,
    }


def _of_arms(arms: dict[str, Evaluation]) -> dict[str, Artifact]:
    made: dict[str, Artifact] = {}
    for arm, evaluation in arms.items():
        kinds = {kind: getattr(evaluation, kind) for kind in ("responses", "answers", "written", "texts")}
        for kind, found in (kinds | {"verdicts": evaluation.judged()}).items():
            made |= {f"{arm}/{kind}/{name}": artifact for name, artifact in found.items()}
    return made


def leave(config: Config, made: dict[str, Artifact], folder: Path) -> dict[str, Any]:
    """Write the settings, the way to the artifacts and the times into a run's folder; gives the settings as plain values."""
    settings: dict[str, Any] = plain(asdict(config))
    artifacts.write_text(folder / "settings.yaml", OmegaConf.to_yaml(OmegaConf.create(settings)))
    artifacts.write_json(folder / "artifacts.json", {name: str(found.folder) for name, found in made.items()})
    timings = {"seconds": progress.seconds, "joules": progress.joules, "host": platform.node()}
    artifacts.write_json(folder / "timings.json", timings)
    return settings


def _model(model: ModelReference) -> dict[str, Any]:
    # Not the Hub's own weights where a package brought them as GGUF.
    return {**model.made_from(), "weights": file.name if (file := packaged(model.path)) else "as published"}


def _card(config: Config, inputs: Inputs, demos: Artifact) -> str:
    found = inputs.data.near_copies
    by_set = {
        s.name: near_copies.counts([copy for copy in found if copy.evaluation.startswith(f"{s.name}/")])
        for s in inputs.data.sets
    }
    about = {
        "teacher of safe responses": config.demonstrations.teacher.name,
        "answers to benign requests": f"{inputs.model.path} itself",
        "requests": ", ".join(s.name for s in inputs.data.training.harmful + inputs.data.training.benign),
        "near-copies of evaluated prompts left out": inputs.data.dropped,
        "seed": config.seed,
        "artifact": demos.id,
    }
    return card.card(demos.records("demonstrations.jsonl"), demos.records("rejected.jsonl"), by_set, about)


def plain(value: Any) -> Any:
    """Settings as plain JSON values."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.value if isinstance(value, Enum) else value
