"""What a run would make, and what of it is made: the same chain of hashes as the stages compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.table import Table

from medsafe_train.artifacts import Artifact, Store
from medsafe_train.attacks.rounds import PLAIN
from medsafe_train.config import Config, Method
from medsafe_train.judges import names
from medsafe_train.models.arm import Arm, Served
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight import data as reading
from medsafe_train.preflight.data import Data
from medsafe_train.sources.prompt_sets import TrainingSets, asked
from medsafe_train.stages import (
    checkpoint,
    demonstrations,
    divergence,
    finetune,
    medical_qa,
    medical_text,
    medical_writing,
    own_answers,
    preference,
    requests,
    responses,
    scale,
    verdicts,
)

# A stage, what it would make in words, and where.
Row = tuple[str, str, Artifact]


def table(title: str) -> Table:
    """An empty table of rows."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for head in ("stage", "what", "state"):
        made.add_column(head)
    return made


def fill(table: Table, rows: list[Row]) -> None:
    """Add rows to a table, with what is made of them."""
    for stage, what, artifact in rows:
        table.add_row(stage, what, "made" if artifact.made else "to make")


def of_run(
    config: Config,
    store: Store,
    data: Data,
    model: ModelReference,
    teacher: ModelReference | None,
    judging: dict[str, ModelReference],
) -> tuple[list[Row], TrainingSets]:
    """A row for every artifact of a run, a step after the other, and what it trains on; makes nothing."""
    rows, training = _requests(config, store, data, teacher)
    shown = _demonstrations(config, store, training, model, teacher)
    demos = shown[-1][2]
    trained = _training(config, store, training, data.evaluated, demos, model)
    tuned = trained[-1][2]
    merged = store.place("checkpoint", checkpoint.made_from(tuned, model)) if config.finetune.merge else None
    arms = Arm(model), Arm(model, tuned, merged)
    rows += [*shown, *of_arm(config, store, data, arms[0], judging), *trained]
    if merged:
        rows.append(("checkpoint", "merged", merged))
    rows += of_arm(config, store, data, arms[1], judging)
    if config.evaluation.kl_limit:
        rows += _divergences(config, store, data, arms)
    return rows, training


def of_arm(
    config: Config, store: Store, data: Data, arm: Arm | Served, judging: dict[str, ModelReference]
) -> list[Row]:
    """A row for every artifact that evaluating one arm makes."""
    rows: list[Row] = []
    for one in data.rounds:
        answered = store.place("responses", responses.made_from(config.evaluation, one, arm))
        rows.append(("responses", f"{arm.name}: {len(one.prompts.prompts)} of {one.name}", answered))
        for name in names(config.judge) if one.way == PLAIN else [config.judge.name]:
            judge = verdicts.reading(replace(config.judge, name=name), one.prompts.kind)
            judged = store.place("verdicts", verdicts.made_from(store, judge, answered, judging.get(judge.name)))
            rows.append(("verdicts", f"{arm.name}: {one.name}, by {judge.name}", judged))
    for benchmark in data.benchmarks:
        assert isinstance(arm, Arm)  # a server is asked none
        made = medical_qa.made_from(config.medical_qa, benchmark, arm)
        what = f"{arm.name}: {len(benchmark.questions)} of {benchmark.name}"
        rows.append(("medical_qa", what, store.place("medical_qa", made)))
        if config.medical_qa.generation:
            made = medical_writing.made_from(config.medical_qa, benchmark, arm)
            what = f"{arm.name}: answers to {benchmark.name}"
            rows.append(("medical_writing", what, store.place("medical_writing", made)))
        if limit := config.medical_qa.text_limit:
            made = medical_text.made_from(limit, benchmark, arm)
            rows.append(("medical_text", f"{arm.name}: texts of {benchmark.name}", store.place("medical_text", made)))
    return rows


def _requests(
    config: Config, store: Store, data: Data, teacher: ModelReference | None
) -> tuple[list[Row], TrainingSets]:
    d, training = config.demonstrations, data.training
    if not requests.wanted(d):
        return [], training
    written = store.place("requests", requests.made_from(d, training, data.sets, config.seed, teacher))
    more = requests.sets_of(written) if written.made else requests.planned(d)
    row = ("requests", "harmful requests and benign twins that the teacher writes", written)
    return [row], reading.with_sets(config, training, more)


def _demonstrations(
    config: Config, store: Store, training: TrainingSets, model: ModelReference, teacher: ModelReference | None
) -> list[Row]:
    d, own, rows = config.demonstrations, None, list[Row]()
    harmful, benign = len(asked(training.harmful)), len(asked(training.benign + training.replay))
    if training.benign or training.replay or d.recovery:
        own = store.place("own_answers", own_answers.made_from(d, training, model))
        rows.append(("own_answers", "base model's answers to training requests", own))
    what = f"up to {harmful} safe responses and {benign} answers to benign requests"
    made = demonstrations.made_from(d, training, own, model, config.seed, teacher)
    return [*rows, ("demonstrations", what, store.place("demonstrations", made))]


def _training(
    config: Config,
    store: Store,
    training: TrainingSets,
    evaluated: set[str],
    demos: Artifact,
    model: ModelReference,
) -> list[Row]:
    f, tuned, rows = config.finetune, None, list[Row]()
    if f.method is not Method.dpo:
        tuned = store.place("finetune", finetune.made_from(f, demos, model, config.seed))
        length = f"{f.updates} updates" if f.updates else f"{f.num_train_epochs:g} epochs"
        rows.append(("finetune", f"LoRA r={f.r}, {length}", tuned))
    if f.method is not Method.sft:
        tuned = store.place("preference", preference.made_from(f, demos, tuned, model, config.seed))
        rows.append(("preference", f"DPO beta={f.beta:g}", tuned))
    assert tuned is not None
    if f.scales != [1.0]:
        tuned = store.place("scale", scale.made_from(f, tuned, training.validation, evaluated, model))
        rows.append(("scale", f"{len(f.scales)} strengths tried on validation requests", tuned))
    return rows


def _divergences(config: Config, store: Store, data: Data, arms: tuple[Arm, Arm]) -> Iterator[Row]:
    base, tuned = arms
    assert tuned.adapter
    for s in data.sets:
        if s.kind != "benign":
            continue
        plain = next(one for one in data.rounds if one.name == s.name)
        answered = store.place("responses", responses.made_from(config.evaluation, plain, base))
        made = divergence.made_from(config.evaluation.kl_limit, answered, base.base, tuned.adapter)
        yield "divergence", f"from the base model on {s.name}", store.place("divergence", made)
