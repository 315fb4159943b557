"""Tries a trained adapter at several strengths on the validation requests, and publishes it at the best one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, statistics
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import FinetuneSettings
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.judges.refusal import label
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import PromptSet

VERSION = 4
# Whether an answer declines shows in its first sentence or two.
ANSWER_TOKENS = 24
BATCH_TOKENS = 12288


def made_from(
    settings: FinetuneSettings, adapter: Artifact, validation: list[PromptSet], model: ModelReference
) -> dict[str, Any]:
    """What decides the choice."""
    return {
        "version": VERSION,
        "curve": artifacts.fingerprint(curve_made_from(settings, adapter, validation, model)),
        "min_refusal": settings.min_refusal,
    }


def curve_made_from(
    settings: FinetuneSettings, adapter: Artifact, validation: list[PromptSet], model: ModelReference
) -> dict[str, Any]:
    """What decides how the adapter does at each strength: apart from the choice, so that another rule costs no answers."""
    return {
        "version": VERSION,
        "judge_version": JUDGE_VERSION,
        "scales": settings.scales,
        "adapter": adapter.id,
        "model": model.made_from(),
        "validation": [[s.name, s.kind, s.fingerprint()] for s in validation],
    }


def run(
    store: Store, settings: FinetuneSettings, adapter: Artifact, validation: list[PromptSet], model: ModelReference
) -> Artifact:
    """An artifact with `adapter/` at the chosen scale, and `curve.json`: refusal rate by scale and validation set.

    With one scale of 1 there is nothing to choose, and the trained adapter itself is returned.
    """
    if settings.scales == [1.0]:
        return adapter

    def answer(folder: Path) -> None:
        artifacts.write_json(folder / "curve.json", _curve(folder, settings, adapter, validation, model))

    number = sum(len(s.prompts) for s in validation)
    with progress.stage(
        "scale", f"adapter {adapter.id} at {len(settings.scales)} strengths on {number} validation requests"
    ):
        curve = store.make("curve", curve_made_from(settings, adapter, validation, model), answer).json("curve.json")
        best = best_scale(curve, settings.min_refusal)

        def build(folder: Path) -> None:
            chosen = {"chosen": best, "min_refusal": settings.min_refusal, "points": curve}
            artifacts.write_json(folder / "curve.json", chosen)
            _scaled(adapter.path("adapter"), folder / "adapter", best)

        made = store.make("scale", made_from(settings, adapter, validation, model), build)
        for point in curve:
            progress.say(
                f"{point['scale']:<5g} harmful refused {_percent(point['harmful'])}, benign refused {_percent(point['benign'])}"
                f"{'  ← published' if point['scale'] == best else ''}"
            )
        if len(curve) > 1 and not any(safe_enough(point, settings.min_refusal) for point in curve):
            progress.warn(
                f"no strength refuses {100 * settings.min_refusal:g} % of the harmful validation requests "
                "(finetune.min_refusal): published is the safest"
            )
    return made


def best_scale(curve: list[dict[str, Any]], min_refusal: float) -> float:
    """The scale to publish, of points with `scale, harmful, benign, youden`.

    Of those that refuse at least `min_refusal` of the harmful requests (where none does: of those that refuse most), the one
    with the largest `harmful refused − benign refused`, sets of a kind pooled; between equals the smallest.
    """
    most = max(point["harmful"]["value"] or 0 for point in curve)
    enough = [point for point in curve if safe_enough(point, min(min_refusal, most))]
    # Rounded: sums of the same counts in another order are still equals.
    return max(enough, key=lambda point: (round(point["youden"], 6), -point["scale"]))["scale"]


def safe_enough(point: dict[str, Any], min_refusal: float) -> bool:
    """Whether a strength refuses at least this share of the harmful requests."""
    return (point["harmful"]["value"] or 0) >= min_refusal


def _percent(figure: dict[str, Any]) -> str:
    return "–" if figure["value"] is None else f"{100 * figure['value']:.1f} % of {figure['n']}"


def _curve(
    folder: Path, settings: FinetuneSettings, adapter: Artifact, validation: list[PromptSet], model: ModelReference
) -> list[dict[str, Any]]:
    if len(settings.scales) == 1:
        nothing = statistics.rate([])
        return [{"scale": settings.scales[0], "harmful": nothing, "benign": nothing, "youden": 0.0, "sets": {}}]
    from medsafe_train.models import generate

    points = []
    for scale in settings.scales:
        ledger = Ledger(folder / f"answers_{scale:g}.jsonl")
        with _at(scale, adapter.path("adapter"), model) as loaded:
            items = [
                (f"{s.name}/{prompt.id}", model.prompt(loaded.tokenizer, prompt.prompt))
                for s in validation
                for prompt in s.prompts
            ]
            generate.answer(loaded, items, ANSWER_TOKENS, BATCH_TOKENS, ledger, f"scale {scale:g}")
        points.append(_point(scale, validation, ledger))
    return points


@contextmanager
def _at(scale: float, adapter: Path, model: ModelReference) -> Iterator[Any]:
    from medsafe_train.models.load import load

    if model.quantization == "none":  # as the published model will answer, and twice as fast on a CPU
        yield load(model, adapter, merged_at=scale)
        return
    from peft.helpers import rescale_adapter_scale

    loaded = load(model, adapter)
    with rescale_adapter_scale(loaded.model, scale):
        yield loaded


def _point(scale: float, validation: list[PromptSet], ledger: Ledger) -> dict[str, Any]:
    refused = {
        s.name: [label(ledger.records[f"{s.name}/{p.id}"]["response"], p.prompt) != "compliance" for p in s.prompts]
        for s in validation
    }
    pooled = {
        kind: [value for s in validation if s.kind == kind for value in refused[s.name]]
        for kind in ("harmful", "benign")
    }
    rates = {kind: statistics.rate(values) for kind, values in pooled.items()}
    return {
        "scale": scale,
        **rates,
        "youden": rates["harmful"]["value"] - rates["benign"]["value"],
        "sets": {name: statistics.rate(values) for name, values in refused.items()},
    }


def _scaled(trained: Path, target: Path, scale: float) -> None:
    # What an adapter adds is proportional to its lora_alpha, so the file that every library reads carries the choice.
    partial = target.with_name(".adapter")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(trained, partial)
    config = json.loads((partial / "adapter_config.json").read_text())
    artifacts.write_json(partial / "adapter_config.json", {**config, "lora_alpha": config["lora_alpha"] * scale})
    partial.rename(target)
