"""The order of the stages, and nothing else."""

from __future__ import annotations

from pathlib import Path

from medsafe_train import plan, preflight, progress, provenance, tracking
from medsafe_train.artifacts import Artifact
from medsafe_train.config import Config
from medsafe_train.preflight import Inputs
from medsafe_train.stages import checkpoint, demonstrations, finetune, medical_qa, report, responses, verdicts
from medsafe_train.stages.report import Evaluation


def run(config: Config, folder: Path) -> None:
    """Check everything, then write demonstrations, fine-tune, evaluate before and after, and report into `folder`."""
    progress.seconds.clear()
    if config.preflight:
        return plan.show(config)
    inputs = preflight.ready(config)
    with tracking.start(config, folder) as tracker:
        demos = demonstrations.run(
            inputs.store,
            config.demonstrations,
            inputs.harmful,
            inputs.benign,
            inputs.model,
            config.seed,
            inputs.teacher,
        )
        before = evaluate(config, inputs, adapter=None)
        adapter = finetune.run(inputs.store, config.finetune, demos, inputs.model, config.seed)
        merged = checkpoint.run(inputs.store, demos, adapter, inputs.model) if config.finetune.merge else None
        after = evaluate(config, inputs, adapter)
        about, places = provenance.record(config, inputs, demos, before, adapter, merged, after, folder)
        made = report.run(folder, about, inputs.sets, inputs.benchmarks, before, after, places)
        tracker.finish(made, adapter)
    return None


def evaluate(config: Config, inputs: Inputs, adapter: Artifact | None) -> Evaluation:
    """Everything that is measured of one model, the base model where there is no adapter."""
    answered, judged, asked = {}, {}, {}
    for prompts in inputs.sets:
        answered[prompts.name] = responses.run(inputs.store, config.evaluation, prompts, inputs.model, adapter)
        judged[prompts.name] = verdicts.run(inputs.store, config.judge, answered[prompts.name])
    for benchmark in inputs.benchmarks:
        asked[benchmark.name] = medical_qa.run(inputs.store, config.medical_qa, benchmark, inputs.model, adapter)
    return Evaluation(answered, judged, asked)
