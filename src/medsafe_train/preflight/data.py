"""The data of a run, read and kept apart: what is trained on, what is evaluated, and what neither may share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from medsafe_train.attacks import rounds
from medsafe_train.attacks.rounds import Round
from medsafe_train.config import Config, UserError
from medsafe_train.evidence import pooled
from medsafe_train.quality import near_copies
from medsafe_train.quality.near_copies import NearCopy
from medsafe_train.sources import descriptions, prompt_sets, questions
from medsafe_train.sources.prompt_sets import PromptSet, TrainingSets
from medsafe_train.sources.questions import Benchmark


@dataclass(frozen=True)
class Data:
    """Everything that is read, each within its limit."""

    training: TrainingSets
    sets: list[PromptSet]
    """to evaluate on"""
    rounds: list[Round]
    """the same, in every way in which they are asked"""
    benchmarks: list[Benchmark]
    near_copies: list[NearCopy]
    """of training requests and evaluated prompts, before any was dropped; ids are `set/id`"""
    dropped: int
    """training requests that were left out: near-copies of an evaluated prompt, and the other half of their pair"""
    whole: dict[str, int] = field(default_factory=dict)
    """how many questions each benchmark has, whatever medical_qa.limit leaves of them"""

    @property
    def evaluated(self) -> set[str]:
        """The names of the sets to evaluate on."""
        return {s.name for s in self.sets}


def read(config: Config) -> Data:
    """The requests to train on without near-copies of what is evaluated, the sets to evaluate on, and benchmarks.

    Raises UserError for sets of one name, and for a request that is trained on and asked again where near-copies are
    not dropped.
    """
    d, e = config.demonstrations, config.evaluation
    folder, share = config.data_folder, _share(config)
    harmful = _load(d.harmful, "harmful", "train", d.limit, folder)
    benign = _load(d.benign, "benign", "train", d.benign_limit or d.limit, folder)
    replay = _load(d.replay, "benign", "train", d.replay_limit or d.limit, folder)
    sets = _evaluated(config)
    _check_twice([s.name for s in harmful + benign + replay] + _written_names(config))
    far = _far(replay, folder) if share else []
    trained = _texts(harmful + benign + replay)
    found = near_copies.find(trained, _texts(sets), d.near_copy_threshold)
    # What the strength is chosen on is no more to be like what is reported than what is trained on.
    beside = near_copies.find(_texts(far), _texts(sets), d.near_copy_threshold)
    copies = _with_twins({copy.training for copy in found}, harmful + benign) if d.drop_near_copies else set()
    if not d.drop_near_copies:
        _check_exact(found)
    kept = [prompt_sets.part_of(s, share, True) for s in harmful + benign] if share else []
    validation = [prompt_sets.without(s, copies) for s in kept]
    validation += [prompt_sets.without(s, {copy.training for copy in beside}) for s in far]
    training = TrainingSets(
        harmful=[prompt_sets.without(prompt_sets.part_of(s, share, False), copies) for s in harmful],
        benign=[prompt_sets.without(prompt_sets.part_of(s, share, False), copies) for s in benign],
        replay=[prompt_sets.without(s, copies) for s in replay],
        validation=[s for s in validation if s.prompts],
    )
    if not d.generate.per_principle and not d.generate.twins:  # else once they are written
        check_training(config, training)
    silent = [id for id, p in prompt_sets.asked(training.harmful).items() if not p.response]
    if d.teacher.name == "published" and silent:
        raise UserError(
            f"teacher=published: {silent[0]} brings no safe response: add the column, or choose another teacher"
        )
    benchmarks, whole = _benchmarks(config)
    return Data(training, sets, rounds.rounds(e, sets), benchmarks, found, len(copies), whole)


def read_evaluated(config: Config) -> Data:
    """What evaluation alone asks: no requests to train on. Raises UserError for sets of one name."""
    sets, (benchmarks, whole) = _evaluated(config), _benchmarks(config)
    return Data(TrainingSets([], [], [], []), sets, rounds.rounds(config.evaluation, sets), benchmarks, [], 0, whole)


def _evaluated(config: Config) -> list[PromptSet]:
    e, folder = config.evaluation, config.data_folder
    sets = _load(e.harmful, "harmful", "test", e.limit, folder) + _load(e.benign, "benign", "test", e.limit, folder)
    _check_twice([s.name for s in sets])
    return sets


def _check_twice(names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"two prompt sets are called {twice[0]}: rename one of the files")


def _benchmarks(config: Config) -> tuple[list[Benchmark], dict[str, int]]:
    # Each within the limit, and how many questions it has without one.
    q = config.medical_qa
    chosen = descriptions.expanded(q.benchmarks)
    names = [descriptions.name_of(name) for name in chosen]
    if taken := [name for name in names if name in pooled.NAMES]:
        raise UserError(f"a benchmark cannot be called {taken[0]}, as several together are: rename the file")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        group = next(
            (one for one in q.benchmarks if twice[0] in descriptions.expanded([one]) and one != twice[0]), None
        )
        said = f" ({group} holds it)" if group else ""
        raise UserError(f"two benchmarks are called {twice[0]}{said}: name it once, or rename one of the files")
    found = [questions.load(name, None, config.data_folder, shots=q.shots > 0) for name in chosen]
    for benchmark in found:
        benchmark.shots(q.shots, 0)  # raises where there are too few
    whole = {benchmark.name: len(benchmark.questions) for benchmark in found}
    return [replace(benchmark, questions=benchmark.questions[: q.limit]) for benchmark in found], whole


def _with_twins(copies: set[str], sets: list[PromptSet]) -> set[str]:
    # A pair goes whole: its benign half alone would teach that what is evaluated, and much like its harmful half, is harmless.
    asked = prompt_sets.asked(sets)
    pairs = {prompt_sets.pair_of(asked[id]) for id in copies if id in asked}
    return copies | {id for id, prompt in asked.items() if prompt_sets.pair_of(prompt) in pairs}


def _share(config: Config) -> float:
    # Without a choice to make, nothing has to be kept from training for it.
    return config.demonstrations.validation if len(config.finetune.scales) > 1 else 0.0


def with_sets(config: Config, training: TrainingSets, more: list[PromptSet]) -> TrainingSets:
    """Training sets and further ones beside them, without a check."""
    return prompt_sets.extended(training, more, _share(config))


def check_training(config: Config, training: TrainingSets) -> None:
    """UserError when nothing is left to train on, or to choose the adapter's strength on."""
    share = _share(config)
    if share and {s.kind for s in training.validation} != {"harmful", "benign"}:
        raise UserError(
            f"finetune.scales={config.finetune.scales} are tried on validation requests, but demonstrations.validation={share:g} "
            "of so few requests holds none of both kinds: raise it or the limits, or name one scale"
        )
    if any(s.prompts for s in training.harmful):
        return
    if not config.demonstrations.harmful:
        raise UserError(
            "no request that the teacher wrote passed, and demonstrations.harmful is empty: choose another teacher, or name "
            "a prompt set, for example [harmful_requests]"
        )
    raise UserError(
        "every harmful training request is a near-copy of an evaluated prompt: train on other requests, "
        "or set demonstrations.drop_near_copies=false"
    )


def _written_names(config: Config) -> list[str]:
    # What sets that are written for a run will be called.
    d = config.demonstrations
    files = [Path(name).stem for name in d.harmful if prompt_sets.is_file(name)]
    if d.generate.twins and not (files or d.generate.per_principle):
        raise UserError(
            "demonstrations.generate.twins=true, but demonstrations.harmful names no file, and no requests are generated: "
            "add a file, or set demonstrations.generate.per_principle"
        )
    own = ["generated"] if d.generate.per_principle else []
    return own + [f"{name}_twins" for name in own + files if d.generate.twins]


def _load(names: Iterable[str], kind: str, part: str, limit: int | None, folder: str | None) -> list[PromptSet]:
    return [prompt_sets.limited(prompt_sets.load(name, kind, part, folder), limit) for name in names]


def _texts(sets: list[PromptSet]) -> list[tuple[str, str]]:
    return [(id, prompt.prompt) for id, prompt in prompt_sets.asked(sets).items()]


def _check_exact(found: list[NearCopy]) -> None:
    for copy in found:
        if copy.how == "exact":
            raise UserError(
                f"{copy.training} is trained on and asked again as {copy.evaluation}: a model must not be measured on what "
                "it was trained on; take it out of one of them, or set demonstrations.drop_near_copies=true"
            )


def _far(replay: list[PromptSet], folder: str | None) -> list[PromptSet]:
    # The validation part that a replay set has of its own.
    return [
        prompt_sets.load(s.name, "benign", "validation", folder)
        for s in replay
        if s.name in prompt_sets.names() and "validation" in prompt_sets.published(s.name).parts
    ]
