"""The order of the stages, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medsafe_train import (
    address,
    comparison,
    judges,
    plan,
    preflight,
    progress,
    provenance,
    publish,
    report_page,
    tracking,
)
from medsafe_train.artifacts import Artifact
from medsafe_train.comparison import ranking
from medsafe_train.config import Config, Method, Task
from medsafe_train.evidence import Evaluation, gate
from medsafe_train.models.arm import Adapter, Arm, Served
from medsafe_train.models.reference import ModelReference
from medsafe_train.plan import alone as plan_alone
from medsafe_train.preflight import Inputs, alone
from medsafe_train.preflight.alone import Evaluated
from medsafe_train.provenance import Made
from medsafe_train.report_page import transcripts
from medsafe_train.stages import (
    checkpoint,
    demonstrations,
    divergence,
    finetune,
    judge_validation,
    medical_qa,
    medical_text,
    medical_writing,
    own_answers,
    preference,
    report,
    requests,
    responses,
    scale,
    verdicts,
)
from medsafe_train.tracking import Finished


def run(config: Config, folder: Path) -> int:
    """Do the configuration's task and leave its results in `folder`; with preflight=true, say what that would take.

    Gives the exit code: 3 when the checkpoint does not pass its gate and gate.enforce is set, else 0.
    """
    progress.seconds.clear()
    progress.joules.clear()
    judge, why = judges.settled(config.judge)
    config = replace(config, judge=judge)
    if why and (config.evaluation.harmful or config.evaluation.benign):
        progress.say(f"judge: {why}")
    task = TASKS[config.task]
    if config.preflight:
        task.plan(config)
        return 0
    # Only a warning: what it has replied before is read again, and a server can be started until the answers are there.
    later = config.task in (Task.train, Task.evaluate) and bool(config.evaluation.harmful)
    if later and "rubric" in judges.names(judge) and (why := address.silence(judge.base_url or "")):
        progress.warn(
            f"judge.base_url={judge.base_url}: nothing answers there ({why}); answers come first, start it by then"
        )
    return task.run(config, folder)


def train_and_compare(config: Config, folder: Path) -> int:
    """Check everything, then write demonstrations, fine-tune, evaluate before and after, and report into `folder`."""
    publish.check(config.publish)
    inputs = preflight.ready(config)
    with tracking.start(config, folder) as tracker:
        inputs = with_requests(config, inputs)
        training, store, model = inputs.data.training, inputs.store, inputs.model
        own = own_answers.run(store, config.demonstrations, training, model)
        demos = demonstrations.run(store, config.demonstrations, training, own, model, config.seed, inputs.teacher)
        before = evaluate(config, inputs, Arm(model))
        trained = train(config, inputs, demos)
        adapter = scale.run(store, config.finetune, trained, training.validation, inputs.data.evaluated, model)
        merged = checkpoint.run(store, demos, adapter, model) if config.finetune.merge else None
        after = evaluate(config, inputs, Arm(model, adapter, merged), verdicts.charged(before.judged().values()))
        verdicts.check_same_judge({"before": before.judged(), "after": after.judged()})
        moved = distance(config, inputs, model, before, adapter)
        made = Made(own, demos, trained, adapter, merged, moved)
        about, places = provenance.record(config, inputs, made, before, after, folder)
        arms = {"before": before, "after": after}
        found = report.run(folder, about, inputs.data, arms, moved, places, config.gate)
        items = transcripts.collect(inputs.data, arms)
        report_page.write(folder, found, items, trained.records("training.jsonl"), progress.seconds, progress.joules)
        weights = merged.path("merged") if merged else adapter.path("adapter")
        ready = publish.write(folder, found, weights, config.publish, Path(model.folder) / "README.md")
        tracker.finish(
            Finished(
                folder,
                found,
                items,
                trained.records("training.jsonl"),
                {"demonstrations": demos, "adapter": adapter},
                (merged or adapter, weights),
            )
        )
        publish.push(ready, config.publish, found)
    return _closed(found)


def _closed(found: dict[str, Any]) -> int:
    """The run's last word, after everything is written, and its exit code."""
    if last := gate.closing(found):
        progress.heading("gate", last)
    return gate.exit_code(found)


def validate_judge(config: Config, folder: Path) -> int:
    """Have the judge read labelled answers, and leave `judge_validation.json` and `disagreements.csv` in `folder`."""
    labels, store, model = preflight.judging(config)
    answered = judge_validation.answers(store, labels)
    judged = verdicts.run(store, config.judge, answered, model=model)
    judge_validation.run(folder, labels, judged, provenance.of_judge(config, model, judged))
    provenance.leave(config, {"labelled": answered, "verdicts": judged}, folder)
    return 0


def with_requests(config: Config, inputs: Inputs) -> Inputs:
    """The inputs, and beside what is trained on the requests and benign twins that a model writes for this run."""
    d, training, evaluated = config.demonstrations, inputs.data.training, inputs.data.sets
    written = requests.run(inputs.store, d, training, evaluated, config.seed, inputs.teacher)
    return preflight.extended(config, inputs, written, requests.sets_of(written)) if written else inputs


def train(config: Config, inputs: Inputs, demos: Artifact) -> Artifact:
    """The adapter, by the chosen method."""
    common = (inputs.model, config.seed)
    adapter = None
    if config.finetune.method is not Method.dpo:
        adapter = finetune.run(inputs.store, config.finetune, demos, *common)
    if config.finetune.method is not Method.sft:
        adapter = preference.run(inputs.store, config.finetune, demos, adapter, *common)
    assert adapter is not None
    return adapter


def evaluate_alone(config: Config, folder: Path) -> int:
    """Measure a model, and an adapter of it where one is named, without training; in a sweep, beside the models before it."""
    inputs = alone.ready(config)
    with tracking.start(config, folder) as tracker:
        arms: dict[str, Evaluation] = {}
        for name, arm in inputs.arms.items():
            spent = sum(verdicts.charged(done.judged().values()) for done in arms.values())
            arms[name] = evaluate(config, inputs, arm, spent)
        verdicts.check_same_judge({name: done.judged() for name, done in arms.items()})
        tuned = inputs.arms.get("after")
        moved = {}
        if isinstance(tuned, Arm) and tuned.adapter:
            moved = distance(config, inputs, tuned.base, arms["before"], tuned.adapter)
        about, places = provenance.record_evaluation(config, inputs, arms, moved, folder)
        found = report.run(folder, about, inputs.data, arms, moved, places, config.gate)
        items = transcripts.collect(inputs.data, arms)
        report_page.write(folder, found, items, [], progress.seconds, progress.joules)
        tracker.finish(Finished(folder, found, items))
    ranking.write(folder.parent)
    return _closed(found)


def evaluate(config: Config, inputs: Inputs | Evaluated, arm: Arm | Served, spent: int = 0) -> Evaluation:
    """Everything that is measured of one model; `spent` are the tokens that judging has cost before."""
    found = Evaluation()
    for asked in inputs.data.rounds:
        found.responses[asked.name] = responses.run(inputs.store, config.evaluation, asked, arm)
    for benchmark in inputs.data.benchmarks:
        assert isinstance(arm, Arm), "a server is asked no questions by log-likelihood"
        asking = config.medical_qa
        found.answers[benchmark.name] = medical_qa.run(inputs.store, asking, benchmark, arm)
        if asking.generation:
            found.written[benchmark.name] = medical_writing.run(inputs.store, asking, benchmark, arm)
        if asking.text_limit:
            found.texts[benchmark.name] = medical_text.run(inputs.store, asking.text_limit, benchmark, arm)
    judge(config, inputs, found, spent)  # last: a judge that is loaded here takes the model's place in memory
    return found


def judge(config: Config, inputs: Inputs | Evaluated, found: Evaluation, spent: int) -> None:
    """Have every judge read the answers to what was asked plainly, and the first one those under attack and the like too."""
    kinds = {asked.name: asked.prompts.kind for asked in inputs.data.rounds}
    plain = {prompts.name: found.responses[prompts.name] for prompts in inputs.data.sets}
    for name in judges.names(config.judge):
        settings, model = replace(config.judge, name=name), inputs.judges.get(name)
        first = name == config.judge.name
        made = verdicts.run_all(inputs.store, settings, found.responses if first else plain, kinds, model, spent)
        spent += verdicts.charged(made.values())
        if first:
            found.verdicts.update(made)
        else:
            found.also[name] = made


def distance(
    config: Config, inputs: Inputs | Evaluated, model: ModelReference, before: Evaluation, adapter: Adapter
) -> dict[str, Artifact]:
    """How far the fine-tuned model is from the base model, by benign set."""
    limit, store = config.evaluation.kl_limit, inputs.store
    return {
        prompts.name: divergence.run(store, limit, prompts.name, before.responses[prompts.name], model, adapter)
        for prompts in inputs.data.sets
        if prompts.kind == "benign" and limit
    }


def compare(config: Config, folder: Path) -> int:
    """Lay finished runs side by side in `folder`; with gate.enforce, 3 when none of them passes the gate."""
    with tracking.start(config, folder) as tracker:
        found = comparison.run(config.runs, config.gate, folder)
        tracker.compared(found)
        tracker.exit_code = gate.EXIT_CODE if config.gate.enforce and found.result["best"] is None else 0
    return tracker.exit_code


class Job(NamedTuple):
    """How a task is done, and how `preflight=true` shows what it would take."""

    run: Callable[[Config, Path], int]
    """configuration, the run's folder; gives the exit code"""
    plan: Callable[[Config], None]


TASKS: dict[Task, Job] = {
    Task.train: Job(train_and_compare, plan.show),
    Task.compare: Job(compare, lambda config: comparison.show(config.runs)),
    Task.evaluate: Job(evaluate_alone, plan_alone.show),
    Task.judge_validation: Job(validate_judge, plan.show_judging),
}
