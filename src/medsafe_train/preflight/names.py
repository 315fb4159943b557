"""Names in the configuration that must be known: here, to the libraries, and to the model."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from medsafe_train import endpoint, judges, progress, prompts
from medsafe_train.attacks import rounds
from medsafe_train.config import Config, UserError
from medsafe_train.judges import JUDGES, guard, rubric
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources import descriptions, prompt_sets
from medsafe_train.teachers import TEACHERS
from medsafe_train.teachers import endpoint as endpoint_teacher


def check(config: Config) -> None:
    """UserError for a format, teacher, judge, benchmark or prompt set that is not known, for a server's teacher that cannot
    be asked, and for training on what is measured."""
    t = config.demonstrations.teacher
    checked: list[tuple[str, str, Iterable[str]]] = [
        ("model.prompt_format", config.model.prompt_format, prompts.FORMATS),
        ("demonstrations.teacher.name", t.name, TEACHERS),
        ("demonstrations.teacher.prompt_format", t.prompt_format, prompts.FORMATS),
        ("judge.name", config.judge.name, JUDGES),
        *(("judge.also", name, JUDGES) for name in config.judge.also),
        ("judge.prompt_format", config.judge.prompt_format, prompts.FORMATS),
        ("judge.guard_format", config.judge.guard_format or next(iter(guard.READERS)), guard.READERS),
    ]
    for setting, name, known in checked:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown {setting}={name}: {hint} there are: {', '.join(known)}")
    rounds.check(config.evaluation)
    if t.name == "endpoint":
        endpoint.check(endpoint_teacher.settings_of(t))
    if "rubric" in judges.names(config.judge):
        endpoint.check(rubric.settings_of(config.judge))
    if "guard" in judges.names(config.judge):
        guard.format_of(config.judge)
    if config.data_folder is not None and not Path(config.data_folder).is_dir():
        raise UserError(f"data_folder={config.data_folder}: no such folder: correct it")
    for name in descriptions.expanded(config.medical_qa.benchmarks):
        descriptions.published(name)
    for setting in ("demonstrations", "evaluation"):
        chosen = getattr(config, setting)
        for name in [*chosen.harmful, *chosen.benign, *getattr(chosen, "replay", [])]:
            if not prompt_sets.is_file(name):
                prompt_sets.published(name)
    for name in config.evaluation.harmful + config.evaluation.benign:
        d = config.demonstrations
        if name in d.harmful + d.benign + d.replay and not prompt_sets.has_parts(name):
            raise UserError(
                f"{name} is in demonstrations and in evaluation, and has no `part` column (train, test): "
                "a model must not be measured on what it was trained on; split the file"
            )


def check_libraries(config: Config, model: ModelReference) -> None:
    """UserError for a scheduler, optimiser, module or layer that the libraries or the model do not have."""
    progress.quiet()
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    f = config.finetune
    for setting, value, known in (
        ("lr_scheduler_type", f.lr_scheduler_type, [kind.value for kind in SchedulerType]),
        ("optim", f.optim, [kind.value for kind in OptimizerNames]),
    ):
        if value not in known:
            close = difflib.get_close_matches(value, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"unknown finetune.{setting}={value}: {hint}there are: {', '.join(known)}")
    names = reference.tensor_names(model.folder)
    wanted = [] if f.target_modules == "all-linear" else [f".{name}." for name in f.target_modules]
    wanted += [f".{layer}." for layer in f.layers_to_transform or []]
    for part in wanted if names else []:
        if not any(part in name for name in names):
            raise UserError(
                f"{model.path} has nothing called {part.strip('.')}: correct finetune.target_modules or layers_to_transform"
            )
