"""Everything that can go wrong before anything expensive starts, checked, and the data read."""

from __future__ import annotations

import difflib
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medsafe_train import artifacts, endpoint, progress, prompts
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import Config, ModelSettings, UserError
from medsafe_train.judges import JUDGES
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.quality import near_copies
from medsafe_train.quality.near_copies import NearCopy
from medsafe_train.sources import prompt_sets, questions
from medsafe_train.sources.prompt_sets import PromptSet, TrainingSets
from medsafe_train.sources.questions import Benchmark
from medsafe_train.teachers import TEACHERS, author
from medsafe_train.teachers import endpoint as endpoint_teacher
from medsafe_train.teachers import local as local_teacher
from medsafe_train.teachers.ask import Ask

# What an answer is begun with where it is made to begin with assent, at most, in any tokenizer.
ASSENT_TOKENS = 24
# Without a model's size at hand: what a run writes at the least.
LEAST_BYTES = 200e6


@dataclass(frozen=True)
class Data:
    """Everything that is read, each within its limit."""

    training: TrainingSets
    sets: list[PromptSet]
    """to evaluate on"""
    benchmarks: list[Benchmark]
    near_copies: list[NearCopy]
    """of training requests and evaluated prompts, before any was dropped; ids are `set/id`"""
    dropped: int
    """training requests that were left out: near-copies of an evaluated prompt, and the other half of their pair"""


@dataclass(frozen=True)
class Inputs:
    """What the stages work on."""

    store: Store
    model: ModelReference
    data: Data
    teacher: ModelReference | None
    """the model that a local teacher loads"""
    written: Artifact | None = None
    """requests and twins that a teacher wrote for this run, where there are any"""


def ready(config: Config) -> Inputs:
    """Check the configuration against this machine, read all data, pin the model down.

    Raises UserError for the first thing that is wrong; the cheap checks come first, and nothing large is downloaded or
    computed before all have passed.
    """
    check_names(config)
    _check_outputs(Path(config.outputs))
    device = reference.choose_device(config.device)
    _check_model(config)
    data = read_data(config)
    store = Store(Path(config.outputs) / "artifacts")
    model = reference.resolve(store, config.model, device, config.seed)
    check_library_names(config, model)
    teacher = teacher_model(config, store, model)
    _check_disk(Path(config.outputs), config, model)
    _check_lengths(config, model, data)
    _check_teacher_lengths(config, teacher, data.training.harmful)
    _check_writer_lengths(config, teacher)
    return Inputs(store, model, data, teacher)


def check_names(config: Config) -> None:
    """UserError for a format, teacher, judge, benchmark or prompt set that is not known, for a server's teacher that cannot
    be asked, and for training on what is measured."""
    t = config.demonstrations.teacher
    for setting, name, known in (
        ("model.prompt_format", config.model.prompt_format, prompts.FORMATS),
        ("demonstrations.teacher.name", t.name, TEACHERS),
        ("demonstrations.teacher.prompt_format", t.prompt_format, prompts.FORMATS),
        ("judge.name", config.judge.name, JUDGES),
    ):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown {setting}={name}: {hint} there are: {', '.join(known)}")
    if t.name == "endpoint":
        endpoint.check(endpoint_teacher.settings_of(t))
    if config.data_folder is not None and not Path(config.data_folder).is_dir():
        raise UserError(f"data_folder={config.data_folder}: no such folder: correct it")
    for name in config.medical_qa.benchmarks:
        questions.published(name)
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


def check_library_names(config: Config, model: ModelReference) -> None:
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


def teacher_model(config: Config, store: Store, model: ModelReference, make: bool = True) -> ModelReference | None:
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


def _check_teacher_lengths(config: Config, teacher: ModelReference | None, harmful: list[PromptSet]) -> None:
    """UserError when what a local teacher is told does not fit into its context; loads its tokenizer, which has checks too."""
    if teacher is None:
        return
    from medsafe_train.models.load import context_length, load_tokenizer

    tokenizer, context, t = load_tokenizer(teacher), context_length(teacher), config.demonstrations.teacher
    if context is None:
        return
    for prompt_set in harmful:
        for prompt in prompt_set.prompts:
            ids = local_teacher.input_ids(tokenizer, Ask(prompt.id, prompt), t, config.seed)
            if (length := len(ids) + t.max_new_tokens) > context:
                raise UserError(
                    f"{prompt_set.name} {prompt.id}: with what the teacher {teacher.path} is told about it and its answer "
                    f"it takes {length} tokens, the context has {context}: shorten it, choose another "
                    "demonstrations.teacher.model or lower demonstrations.teacher.max_new_tokens"
                )


def _check_writer_lengths(config: Config, teacher: ModelReference | None) -> None:
    """UserError when a list of requests does not fit into a local teacher's context, beside what it is told."""
    from medsafe_train.models.load import context_length, load_tokenizer

    d = config.demonstrations
    asks = author.request_asks(d.generate, config.seed)
    context = context_length(teacher) if teacher and asks else None
    if teacher is None or context is None:
        return
    tokenizer = load_tokenizer(teacher)
    longest = max(len(local_teacher.input_ids(tokenizer, ask, d.teacher, config.seed)) for ask in asks)
    if (length := longest + d.generate.max_new_tokens) > context:
        raise UserError(
            f"demonstrations.generate.max_new_tokens={d.generate.max_new_tokens}: with what the teacher {teacher.path} is told "
            f"it takes {length} tokens, the context has {context}: lower it and demonstrations.generate.batch"
        )


def _check_outputs(outputs: Path) -> None:
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


def _check_model(config: Config) -> None:
    path = Path(config.model.path or "")
    if path.is_dir():
        reference.check_folder(path)
    elif "/" in str(path) and (str(path).startswith((".", "/", "~")) or str(path).count("/") > 1):
        raise UserError(f"model.path={path}: no such folder: correct it")


def _check_disk(outputs: Path, config: Config, model: ModelReference) -> None:
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


def read_data(config: Config) -> Data:
    """The requests to train on without near-copies of what is evaluated, the sets to evaluate on, and benchmarks.

    Raises UserError for sets of one name, and for a request that is trained on and asked again where near-copies are
    not dropped.
    """
    d, e = config.demonstrations, config.evaluation
    folder, share = config.data_folder, _share(config)
    harmful = _load(d.harmful, "harmful", "train", d.limit, folder)
    benign = _load(d.benign, "benign", "train", d.benign_limit or d.limit, folder)
    replay = _load(d.replay, "benign", "train", d.replay_limit or d.limit, folder)
    sets = _load(e.harmful, "harmful", "test", e.limit, folder) + _load(e.benign, "benign", "test", e.limit, folder)
    for group in ([s.name for s in harmful + benign + replay] + _written_names(config), [s.name for s in sets]):
        twice = [name for name, count in Counter(group).items() if count > 1]
        if twice:
            raise UserError(f"two prompt sets are called {twice[0]}: rename one of the files")
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
        _check_training(config, training)
    silent = [id for id, p in prompt_sets.asked(training.harmful).items() if not p.response]
    if d.teacher.name == "published" and silent:
        raise UserError(
            f"teacher=published: {silent[0]} brings no safe response: add the column, or choose another teacher"
        )
    benchmarks = [questions.load(name, config.medical_qa.limit, folder) for name in config.medical_qa.benchmarks]
    return Data(training, sets, benchmarks, found, len(copies))


def _with_twins(copies: set[str], sets: list[PromptSet]) -> set[str]:
    # A pair goes whole: its benign half alone would teach that what is evaluated, and much like its harmful half, is harmless.
    asked = prompt_sets.asked(sets)
    pairs = {prompt_sets.pair_of(asked[id]) for id in copies if id in asked}
    return copies | {id for id, prompt in asked.items() if prompt_sets.pair_of(prompt) in pairs}


def _share(config: Config) -> float:
    # Without a choice to make, nothing has to be kept from training for it.
    return config.demonstrations.validation if len(config.finetune.scales) > 1 else 0.0


def extended(config: Config, inputs: Inputs, written: Artifact, more: list[PromptSet]) -> Inputs:
    """The inputs with sets that were written for this run, split between training and validation as all others.

    Raises UserError when there is then too little of either.
    """
    training = with_sets(config, inputs.data.training, more)
    _check_training(config, training)
    return replace(inputs, data=replace(inputs.data, training=training), written=written)


def with_sets(config: Config, training: TrainingSets, more: list[PromptSet]) -> TrainingSets:
    """Training sets and further ones beside them, without a check."""
    return prompt_sets.extended(training, more, _share(config))


def _check_training(config: Config, training: TrainingSets) -> None:
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


def _check_lengths(config: Config, model: ModelReference, data: Data) -> None:
    """UserError when a prompt and its answer do not fit into the model's context; loads the tokenizer, which has checks too."""
    from medsafe_train.models.load import context_length, load_tokenizer

    tokenizer = load_tokenizer(model)
    context = context_length(model)
    if context is None:
        return
    training, e = data.training, config.evaluation
    own = config.demonstrations.max_new_tokens
    groups = [
        (training.harmful, own if config.demonstrations.recovery else 0),
        (training.benign + training.replay, own + ASSENT_TOKENS),
        (data.sets, e.max_new_tokens + (e.prefill_tokens if e.prefill else 0)),
    ]
    for group, extra in groups:
        for prompt_set in group:
            for prompt in prompt_set.prompts:
                if (length := len(model.prompt(tokenizer, prompt.prompt)) + extra) > context:
                    raise UserError(
                        f"{prompt_set.name} {prompt.id}: prompt and answer take {length} tokens, the model's context has "
                        f"{context}: shorten the prompt or lower max_new_tokens"
                    )
    for benchmark in data.benchmarks:
        for question in benchmark.questions:
            text, options = prompts.question_ids(tokenizer, benchmark.style, question)
            if (length := len(text) + max(map(len, options))) > context:
                raise UserError(
                    f"{benchmark.name} {question.id}: the question takes {length} tokens, the model's context has {context}: "
                    "leave the benchmark out for this model"
                )
