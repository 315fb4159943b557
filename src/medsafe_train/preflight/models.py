"""The models of a run pinned down, and room on the disk for what they leave."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from medsafe_train import artifacts, judges
from medsafe_train.artifacts import Store
from medsafe_train.config import Config, JudgeSettings, ModelSettings, UserError
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference

# Without a model's size at hand: what a run writes at the least.
LEAST_BYTES = 200e6


def teacher(config: Config, store: Store, model: ModelReference, make: bool = True) -> ModelReference | None:
    """The model that a local teacher loads, pinned down; None for the others. Raises UserError as reference.resolve does."""
    t = config.demonstrations.teacher
    if t.name != "local":
        return None
    if t.model is None:  # a teacher is told its task whole, so the system prompt has no part in it
        return replace(model, system_prompt=None)
    settings = ModelSettings(path=t.model, revision=t.revision, prompt_format=t.prompt_format)
    try:
        return reference.resolve(store, settings, model.device, config.seed, make)
    except UserError as error:
        text = str(error).replace("model.path=", "demonstrations.teacher.model=")
        raise UserError(text.replace("model.revision=", "demonstrations.teacher.revision=")) from None


def judge_settings(j: JudgeSettings) -> dict[str, ModelSettings]:
    """What the judges load that are models here, by the judge's name."""
    chosen = {
        "local_rubric": ModelSettings(path=j.model, revision=j.revision, prompt_format=j.prompt_format),
        "guard": ModelSettings(path=j.guard, revision=j.guard_revision),
    }
    return {name: settings for name, settings in chosen.items() if name in judges.names(j)}


def judge(config: Config, name: str, store: Store, device: str, make: bool = True) -> ModelReference:
    """The model that a judge loads, pinned down. Raises UserError as reference.resolve does."""
    settings = judge_settings(config.judge)[name]
    at, revision = ("model", "revision") if name == "local_rubric" else ("guard", "guard_revision")
    try:
        found = reference.resolve(store, settings, device, config.seed, make)
    except UserError as error:
        text = str(error).replace("model.path=", f"judge.{at}=")
        raise UserError(text.replace("model.revision=", f"judge.{revision}=")) from None
    if name == "guard":  # its own wording must be there
        judges.guard.made_from(config.judge, found)
    return found


def check_outputs(outputs: Path) -> None:
    """UserError when results cannot be written there."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=outputs):
            pass
    except OSError as error:
        raise UserError(
            f"outputs={outputs} cannot be written ({error.strerror}): choose another folder with outputs=FOLDER"
        ) from None
    if artifacts.free_bytes(outputs) < LEAST_BYTES:
        _too_little_disk(outputs, LEAST_BYTES)


def check_model(config: Config) -> None:
    """UserError when the model is a folder that is not there or not whole."""
    path = Path(config.model.path or "")
    if path.is_dir():
        reference.check_folder(path)
    elif "/" in str(path) and (str(path).startswith((".", "/", "~")) or str(path).count("/") > 1):
        raise UserError(f"model.path={path}: no such folder: correct it")


def check_disk(outputs: Path, config: Config, model: ModelReference) -> None:
    """UserError when adapter and merged checkpoint would not fit on the disk."""
    # The merged checkpoint in 16 bit, and as much again for adapter, optimiser state and records.
    size = reference.size_of(model)
    if size and config.finetune.merge and (needed := 2 * size * 1.1 + LEAST_BYTES) > artifacts.free_bytes(outputs):
        _too_little_disk(outputs, needed)


def _too_little_disk(outputs: Path, needed: float) -> None:
    free = artifacts.free_bytes(outputs)
    raise UserError(
        f"outputs={outputs} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed: "
        "free some, choose outputs=FOLDER on another disk, or set finetune.merge=false"
    )
