"""What a run would make, and what of it is made: the same chain of hashes as the stages compute."""

from __future__ import annotations

from dataclasses import replace

from rich.table import Table

from medsafe_train.artifacts import Artifact, Store
from medsafe_train.attacks.rounds import PLAIN
from medsafe_train.config import Config, Method
from medsafe_train.judges import names
from medsafe_train.models.arm import Arm
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight import data as reading
from medsafe_train.sources.prompt_sets import limited
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


def fill(
    table: Table,
    config: Config,
    store: Store,
    model: ModelReference,
    teacher: ModelReference | None,
    judging: dict[str, ModelReference],
) -> dict[str, int]:
    """Add a row for every artifact to the table; returns counts from which time is estimated. Makes nothing."""
    data = reading.read(config)
    training, sets, benchmarks, f = data.training, data.sets, data.benchmarks, config.finetune
    if requests.wanted(config.demonstrations):
        made = requests.made_from(config.demonstrations, training, sets, config.seed, teacher)
        written = store.place("requests", made)
        what = "harmful requests and benign twins that the teacher writes"
        table.add_row("requests", what, "made" if written.made else "to make")
        more = requests.sets_of(written) if written.made else requests.planned(config.demonstrations)
        training = reading.with_sets(config, training, more)
    n_harmful, n_twins, n_replay = (
        sum(len(s.prompts) for s in group) for group in (training.harmful, training.benign, training.replay)
    )
    n_benign = n_twins + n_replay

    def row(stage: str, what: str, artifact: Artifact) -> Artifact:
        table.add_row(stage, what, "made" if artifact.made else "to make")
        return artifact

    own = None
    if training.benign or training.replay or config.demonstrations.recovery:
        own = store.place("own_answers", own_answers.made_from(config.demonstrations, training, model))
        row("own_answers", "base model's answers to training requests", own)
    demos = row(
        "demonstrations",
        f"up to {n_harmful} safe responses and {n_benign} answers to benign requests",
        store.place(
            "demonstrations",
            demonstrations.made_from(config.demonstrations, training, own, model, config.seed, teacher),
        ),
    )
    tuned = None
    trained = []
    if f.method is not Method.dpo:
        tuned = store.place("finetune", finetune.made_from(f, demos, model, config.seed))
        length = f"{f.updates} updates" if f.updates else f"{f.num_train_epochs:g} epochs"
        trained.append(("finetune", f"LoRA r={f.r}, {length}", tuned))
    if f.method is not Method.sft:
        tuned = store.place("preference", preference.made_from(f, demos, tuned, model, config.seed))
        trained.append(("preference", f"DPO beta={f.beta:g}", tuned))
    assert tuned is not None
    if f.scales != [1.0]:
        tuned = store.place("scale", scale.made_from(f, tuned, training.validation, model))
        trained.append(("scale", f"{len(f.scales)} strengths tried on validation requests", tuned))
    base: dict[str, Artifact] = {}
    merged = store.place("checkpoint", checkpoint.made_from(tuned, model)) if f.merge else None
    for arm in (Arm(model), Arm(model, tuned, merged)):
        if arm.adapter:
            for stage in trained:
                row(*stage)
            if merged:
                row("checkpoint", "merged", merged)
        for asked in data.rounds:
            made = responses.made_from(config.evaluation, asked, arm)
            what = f"{arm.name}: {len(asked.prompts.prompts)} of {asked.name}"
            answered = row("responses", what, store.place("responses", made))
            for name in names(config.judge) if asked.way == PLAIN else [config.judge.name]:
                judge = verdicts.reading(replace(config.judge, name=name), asked.prompts.kind)
                judged = store.place("verdicts", verdicts.made_from(store, judge, answered, judging.get(judge.name)))
                row("verdicts", f"{arm.name}: {asked.name}, by {judge.name}", judged)
            if not arm.adapter:
                base[asked.name] = answered
        for s in sets:
            if arm.adapter and s.kind == "benign" and config.evaluation.kl_limit:
                made = divergence.made_from(config.evaluation.kl_limit, base[s.name], model, arm.adapter)
                row("divergence", f"from the base model on {s.name}", store.place("divergence", made))
        for b in benchmarks:
            made = medical_qa.made_from(config.medical_qa, b, arm)
            row("medical_qa", f"{arm.name}: {len(b.questions)} of {b.name}", store.place("medical_qa", made))
            if config.medical_qa.generation:
                made = medical_writing.made_from(config.medical_qa, b, arm)
                row("medical_writing", f"{arm.name}: answers to {b.name}", store.place("medical_writing", made))
            if limit := config.medical_qa.text_limit:
                made = medical_text.made_from(limit, b, arm)
                row("medical_text", f"{arm.name}: texts of {b.name}", store.place("medical_text", made))
    words = sum(len((q.context or "").split()) + len(q.question.split()) for b in benchmarks for q in b.questions)
    d, tried = config.demonstrations, training.validation
    # Requests that are asked once more with the answer begun, of either kind.
    begun = [
        sum(len(limited(s, d.recovery_limit).prompts) for s in kind) if d.recovery else 0
        for kind in (training.harmful, training.benign)
    ]
    return {
        "refusals": int(n_harmful * f.mix.safe + begun[0] * f.mix.recovery),
        "rehearsed": int(
            n_twins * f.mix.benign
            + begun[1] * f.mix.recovery_benign
            + n_replay * (f.mix.replay + f.mix.plain * f.self_distillation)
        ),
        "replay": n_benign + sum(begun),
        "tried": sum(len(s.prompts) * (1 + scale.assents(s)) for s in tried)
        * (len(f.scales) if len(f.scales) > 1 else 0),
        "answers": 2 * sum(len(asked.prompts.prompts) for asked in data.rounds),
        "judged": 2 * sum(len(asked.prompts.prompts) for asked in data.rounds if asked.prompts.kind == "harmful"),
        "question_tokens": int(2 * 1.5 * words),
    }
