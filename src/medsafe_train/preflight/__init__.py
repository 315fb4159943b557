"""Everything that can go wrong before anything expensive starts, checked, and the data read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import Config, UserError
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight import data as reading
from medsafe_train.preflight import lengths, models, names
from medsafe_train.preflight.data import Data
from medsafe_train.sources import labels
from medsafe_train.sources.labels import Labels
from medsafe_train.sources.prompt_sets import PromptSet


@dataclass(frozen=True)
class Inputs:
    """What the stages work on."""

    store: Store
    model: ModelReference
    data: Data
    teacher: ModelReference | None
    """the model that a local teacher loads"""
    judges: dict[str, ModelReference] = field(default_factory=dict)
    """what judges load that are models here, by the judge's name"""
    written: Artifact | None = None
    """requests and twins that a teacher wrote for this run, where there are any"""


def ready(config: Config) -> Inputs:
    """Check the configuration against this machine, read all data, pin the model down.

    Raises UserError for the first thing that is wrong; the cheap checks come first, and nothing large is downloaded or
    computed before all have passed.
    """
    names.check(config)
    models.check_outputs(Path(config.outputs))
    device = reference.choose_device(config.device)
    models.check_model(config)
    data = reading.read(config)
    store = Store(Path(config.outputs) / "artifacts")
    model = reference.resolve(store, config.model, device, config.seed)
    names.check_libraries(config, model)
    teacher = models.teacher(config, store, model)
    models.check_disk(Path(config.outputs), config, model)
    lengths.check(config, model, data)
    lengths.check_teacher(config, teacher, data.training.harmful)
    lengths.check_writer(config, teacher)
    judging = {name: models.judge(config, name, store, device) for name in models.judge_settings(config.judge)}
    lengths.check_judges(config, judging, data.rounds)
    return Inputs(store, model, data, teacher, judging)


def judging(config: Config, make: bool = True) -> tuple[Labels, Store, ModelReference | None]:
    """What holding a judge against labels takes: the labelled answers, the store, and the model that the judge loads here.

    Raises UserError for the first thing that is wrong.
    """
    path = config.judge_validation.labels
    if path is None:
        raise UserError(
            "no labelled answers are named: add judge_validation.labels=FILE (JSONL, CSV, or a folder of them)"
        )
    names.check(config)
    models.check_outputs(Path(config.outputs))
    found, store, name = labels.load(path), Store(Path(config.outputs) / "artifacts"), config.judge.name
    if name not in models.judge_settings(config.judge):
        return found, store, None
    model = models.judge(config, name, store, reference.choose_device(config.device), make)
    if make:
        records = [{"id": row.id, "prompt": row.prompt, "response": row.response} for row in found.rows]
        lengths.check_judged(config.judge, {name: model}, records)
    return found, store, model


def extended(config: Config, inputs: Inputs, written: Artifact, more: list[PromptSet]) -> Inputs:
    """The inputs with sets that were written for this run, split between training and validation as all others.

    Raises UserError when there is then too little of either.
    """
    training = reading.with_sets(config, inputs.data.training, more)
    reading.check_training(config, training)
    return replace(inputs, data=replace(inputs.data, training=training), written=written)
