"""What evaluation alone would make, and what of it is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.table import Table

from medsafe_train import progress
from medsafe_train.artifacts import Store
from medsafe_train.attacks.rounds import PLAIN
from medsafe_train.config import Config, Engine
from medsafe_train.judges import names as judges_of
from medsafe_train.models import reference
from medsafe_train.models.arm import Arm, Served
from medsafe_train.preflight import alone, models, names
from medsafe_train.preflight import data as reading
from medsafe_train.preflight.data import Data
from medsafe_train.stages import medical_qa, medical_text, medical_writing, responses, verdicts


def show(config: Config) -> None:
    """Print what would be asked of which model, and what is already answered; makes nothing, and asks no server."""
    names.check(config)
    store, device = Store(Path(config.outputs) / "artifacts"), reference.choose_device(config.device)
    data, m = reading.read_evaluated(config), config.model
    if m.engine is Engine.endpoint:
        arms, data = alone.served(m), alone.askable(m, data)
    else:
        arms = alone.loaded(config, store, device, make=False)
    judging = {name: models.judge(config, name, store, device, False) for name in models.judge_settings(config.judge)}
    where = f"behind {m.base_url}" if m.engine is Engine.endpoint else f"on {device}"
    table = Table(title=f"Plan for {m.path} {where}", title_justify="left", title_style="bold")
    for head in ("stage", "what", "state"):
        table.add_column(head)
    for arm in arms.values():
        for stage, what, made in _rows(config, store, data, arm, judging):
            table.add_row(stage, what, "made" if made else "to make")
    progress.console.print(table)


def _rows(
    config: Config, store: Store, data: Data, arm: Arm | Served, judging: dict[str, reference.ModelReference]
) -> list[tuple[str, str, bool]]:
    found = []
    for asked in data.rounds:
        answered = store.place("responses", responses.made_from(config.evaluation, asked, arm))
        found.append(("responses", f"{arm.name}: {len(asked.prompts.prompts)} of {asked.name}", answered.made))
        for name in judges_of(config.judge) if asked.way == PLAIN else [config.judge.name]:
            judge = verdicts.reading(replace(config.judge, name=name), asked.prompts.kind)
            judged = store.place("verdicts", verdicts.made_from(store, judge, answered, judging.get(judge.name)))
            found.append(("verdicts", f"{arm.name}: {asked.name}, by {judge.name}", judged.made))
    for benchmark in data.benchmarks:
        assert isinstance(arm, Arm)  # a server is asked none
        made = store.place("medical_qa", medical_qa.made_from(config.medical_qa, benchmark, arm)).made
        found.append(("medical_qa", f"{arm.name}: {len(benchmark.questions)} of {benchmark.name}", made))
        if config.medical_qa.generation:
            made = store.place("medical_writing", medical_writing.made_from(config.medical_qa, benchmark, arm)).made
            found.append(("medical_writing", f"{arm.name}: answers to {benchmark.name}", made))
        if limit := config.medical_qa.text_limit:
            made = store.place("medical_text", medical_text.made_from(limit, benchmark, arm)).made
            found.append(("medical_text", f"{arm.name}: texts of {benchmark.name}", made))
    return found
