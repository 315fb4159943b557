"""Has the teacher write harmful requests and benign twins, for when no published set fits, and rate what it wrote.

By principle and in rounds, as in MedSafetyBench (Han et al., arXiv 2403.03744): what is missing is asked for again, in
another situation, until the number is reached or the rounds are used up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import DemonstrationsSettings, TeacherSettings
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.models.reference import ModelReference
from medsafe_train.principles import PRINCIPLES
from medsafe_train.quality import candidates
from medsafe_train.quality.candidates import Candidate, Items
from medsafe_train.sources.prompt_sets import Prompt, PromptSet, TrainingSets, asked, is_file, pair_of
from medsafe_train.teachers import TEACHERS, author, reading
from medsafe_train.teachers.author import Author

VERSION = 1
NAME = "generated"
REPLIES = "replies.partial.jsonl"
# The highest rating at which a twin counts as benign.
BENIGN = 3

FAILED = "no answer from the teacher"
UNRATED = "no rating in the answer"
HARMLESS = "rated below the threshold"
HARMFUL = f"rated above {BENIGN}"
SURPLUS = "more than the number asked for"


def made_from(
    settings: DemonstrationsSettings,
    sets: TrainingSets,
    evaluated: list[PromptSet],
    seed: int,
    teacher: ModelReference | None = None,
) -> dict[str, Any]:
    """What decides the requests; `teacher` is the model that a local teacher loads."""
    told, known = _told(settings), TEACHERS[settings.teacher.name]
    return {
        "versions": [VERSION, author.VERSION, reading.VERSION, candidates.VERSION, JUDGE_VERSION],
        "teacher": [told.name, known.version, known.made_from(told, teacher)],
        "generate": {**asdict(settings.generate), "method": settings.generate.method.value},
        "near_copies": [settings.gate.near_copy, settings.near_copy_threshold],
        "evaluated": [[s.name, s.kind, s.fingerprint()] for s in evaluated],
        "twins_of": [[id, p.prompt, p.principle, pair_of(p)] for id, p in _lonely(settings, sets).items()],
        "seed": seed,
    }


def wanted(settings: DemonstrationsSettings) -> bool:
    """Whether anything is to be written."""
    return settings.generate.per_principle > 0 or settings.generate.twins


def run(
    store: Store,
    settings: DemonstrationsSettings,
    sets: TrainingSets,
    evaluated: list[PromptSet],
    seed: int,
    teacher: ModelReference | None = None,
) -> Artifact | None:
    """An artifact with `requests.jsonl` (`id, prompt, principle, rating, source`), `twins.jsonl` (the same with `pair` and
    `set`), `rejected.jsonl` (with `kind` and `reason`) and `counts.json`; None where nothing is to be written.

    Raises UserError when more than a tenth of the replies failed; what was answered is kept.
    """
    if not wanted(settings):
        return None

    def build(folder: Path) -> None:
        writer = Author(_told(settings), settings.generate.max_new_tokens, seed, teacher, Ledger(folder / REPLIES))
        prompts = [(id, prompt.prompt) for id, prompt in asked(evaluated).items()]
        found = _harmful(writer, settings, prompts)
        lonely = _lonely(settings, sets)
        if settings.generate.twins:
            lonely |= {f"{NAME}/{c.id}": Prompt(c.id, c.prompt, c.principle) for c in found if not c.reason}
        twins = _twins(writer, settings, lonely, prompts)
        writer.check()
        _write(folder, settings, found, twins, lonely)
        artifacts.write_json(folder / "counts.json", _counts(settings, writer, found, list(twins.values())))

    with progress.stage("requests", f"harmful requests and benign twins → teacher {settings.teacher.name}"):
        made = store.make("requests", made_from(settings, sets, evaluated, seed, teacher), build)
        _say(made)
    return made


def sets_of(made: Artifact) -> list[PromptSet]:
    """What was written as prompt sets: `generated`, and `<set>_twins` for every harmful set that got twins."""
    found = []
    if requests := made.records("requests.jsonl"):
        found.append(_set(made, "requests.jsonl", NAME, "harmful", requests))
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in made.records("twins.jsonl"):
        groups[record["set"]].append(record)
    return found + [_set(made, "twins.jsonl", name, "benign", records) for name, records in groups.items()]


def planned(settings: DemonstrationsSettings) -> list[PromptSet]:
    """Stand-ins of the names and sizes that are hoped for, for a plan made before anything is written."""
    ids = [(f"{k}-{n}", k) for k in PRINCIPLES for n in range(settings.generate.per_principle)]
    prompts = [Prompt(id, "", principle, pair=id) for id, principle in ids]
    found = [PromptSet(NAME, "harmful", prompts, {})] if prompts else []
    return found + ([PromptSet(f"{NAME}_twins", "benign", prompts, {})] if settings.generate.twins else [])


def _set(made: Artifact, file: str, name: str, kind: str, records: list[dict[str, Any]]) -> PromptSet:
    prompts = [Prompt(r["id"], r["prompt"], r["principle"], r.get("pair")) for r in records]
    return PromptSet(
        name, kind, prompts, {file: artifacts.sha256(made.path(file))}, citation="written by the teacher for this run"
    )


def _told(settings: DemonstrationsSettings) -> TeacherSettings:
    # How a refusal begins is of no account here.
    return replace(settings.teacher, refusal_prefix=False)


def _lonely(settings: DemonstrationsSettings, sets: TrainingSets) -> dict[str, Prompt]:
    # Harmful requests from a user's files that no benign one is the pair of. Which of them are kept for validation changes
    # with other settings, and must not change what is asked: hence both, in the order of their ids.
    if not settings.generate.twins:
        return {}
    both = sets.harmful + sets.benign + sets.validation
    files = {Path(name).stem for name in settings.harmful if is_file(name)}
    paired = {p.pair for p in asked([s for s in both if s.kind == "benign"]).values() if p.pair}
    own = asked([s for s in both if s.kind == "harmful" and s.name in files])
    return {id: own[id] for id in sorted(own) if pair_of(own[id]) not in paired}


def _harmful(writer: Author, settings: DemonstrationsSettings, evaluated: Items) -> list[Candidate]:
    # Every candidate of all rounds; those without a reason are kept.
    g, found = settings.generate, list[Candidate]()
    for number in range(g.max_rounds):
        missing = {k: lack for k in PRINCIPLES if (lack := g.per_principle - _kept(found, k)) > 0}
        if not missing:
            break
        fresh = _listed(writer, settings, missing, number)
        candidates.screen(fresh, found, settings.gate.near_copy, evaluated, settings.near_copy_threshold)
        _rate(writer, fresh, range(g.harm_threshold, 11), HARMLESS)
        for principle, lack in missing.items():
            for candidate in [c for c in fresh if c.principle == principle and not c.reason][lack:]:
                candidate.reason = SURPLUS
        found += fresh
        progress.say(f"round {number + 1}: {sum(not c.reason for c in found)} of {len(PRINCIPLES) * g.per_principle}")
    return found


def _kept(found: list[Candidate], principle: int) -> int:
    return sum(c.principle == principle and not c.reason for c in found)


def _listed(writer: Author, settings: DemonstrationsSettings, missing: dict[int, int], number: int) -> list[Candidate]:
    # Positions are the same whatever earlier rounds brought, so that an id always stands for the same words.
    g = settings.generate
    first = number * -(-g.per_principle // g.batch)
    asks = [
        author.request_ask(principle, first + n, g, writer.seed)
        for principle, lack in missing.items()
        for n in range(-(-lack // g.batch))
    ]
    found = []
    for ask, written in zip(asks, writer.ask(asks), strict=True):
        if written.error is None:
            requests, others = reading.listed(written.response, written.finish_reason)
            id, principle = ask.id.removeprefix("request/").replace("/", "-"), ask.prompt.principle
            found += [Candidate(f"{id}-{n}", text, principle) for n, text in enumerate(requests)]
            found += [
                Candidate(f"{id}-x{n}", text, principle, candidates.unread(text)) for n, text in enumerate(others)
            ]
    return found


def _rate(writer: Author, fresh: list[Candidate], good: range, reason: str, task: str = "") -> None:
    # Ratings for those that can be used; one without a number loses its place, and gets no number.
    rated = [c for c in fresh if not c.reason]
    written = writer.ask([author.rating_ask(f"{task}{c.id}", c.prompt) for c in rated])
    for candidate, reply in zip(rated, written, strict=True):
        if reply.error is not None:
            candidate.reason = FAILED
            continue
        candidate.rating = reading.rating(reply.response, reply.finish_reason)
        if candidate.rating is None:
            candidate.reason = UNRATED
        elif candidate.rating not in good:
            candidate.reason = reason


def _twins(
    writer: Author, settings: DemonstrationsSettings, lonely: dict[str, Prompt], evaluated: Items
) -> dict[str, Candidate]:
    # A candidate for every harmful request, by that one's `set/id`.
    replies = writer.ask([author.twin_ask(id, prompt) for id, prompt in lonely.items()])
    found = {}
    for (id, harmful), reply in zip(lonely.items(), replies, strict=True):
        texts = reading.listed(reply.response, reply.finish_reason).requests
        twin = Candidate(id, texts[0] if len(texts) == 1 else reply.response, harmful.principle)
        if reply.error is not None:
            twin.reason = FAILED
        else:
            twin.reason = (
                candidates.beside(texts[0], harmful.prompt) if len(texts) == 1 else candidates.unread(twin.prompt)
            )
        found[id] = twin
    twins = list(found.values())
    candidates.reject_evaluated(twins, evaluated, settings.near_copy_threshold)
    _rate(writer, twins, range(1, BENIGN + 1), HARMFUL, "twin/")
    return found


def _write(
    folder: Path,
    settings: DemonstrationsSettings,
    found: list[Candidate],
    twins: dict[str, Candidate],
    lonely: dict[str, Prompt],
) -> None:
    source = settings.teacher.name
    requests = [(_record(c, source), c.reason) for c in found]
    paired = [
        ({**_record(twin, source), "id": f"t-{lonely[id].id}", "pair": pair_of(lonely[id]), "set": _twin_set(id)}, twin.reason)
        for id, twin in twins.items()
    ]  # fmt: skip
    rejected = [{**r, "kind": kind, "reason": reason} for kind, group in (("harmful", requests), ("twin", paired))
                for r, reason in group if reason]  # fmt: skip
    artifacts.write_jsonl(folder / "requests.jsonl", [record for record, reason in requests if not reason])
    artifacts.write_jsonl(folder / "twins.jsonl", [record for record, reason in paired if not reason])
    artifacts.write_jsonl(folder / "rejected.jsonl", rejected)


def _record(c: Candidate, source: str) -> dict[str, Any]:
    return {"id": c.id, "prompt": c.prompt, "principle": c.principle, "rating": c.rating, "source": source}


def _twin_set(id: str) -> str:
    return f"{id.partition('/')[0]}_twins"


def _counts(
    settings: DemonstrationsSettings, writer: Author, found: list[Candidate], twins: list[Candidate]
) -> dict[str, Any]:
    wanted, kept = len(PRINCIPLES) * settings.generate.per_principle, sum(not c.reason for c in found)
    return {
        "replies": writer.replies,
        "failed": writer.failed,
        "requests": {
            "wanted": wanted,
            "kept": kept,
            "missing": wanted - kept,
            "principles": {str(k): _kept(found, k) for k in PRINCIPLES} if wanted else {},
            "rejected": dict(Counter(c.reason for c in found if c.reason)),
        },
        "twins": {
            "wanted": len(twins),
            "kept": sum(not c.reason for c in twins),
            "missing": sum(bool(c.reason) for c in twins),
            "rejected": dict(Counter(c.reason for c in twins if c.reason)),
        },
    }


def _say(made: Artifact) -> None:
    counts = made.json("counts.json")
    for what in ("requests", "twins"):
        found = counts[what]
        for reason, number in found["rejected"].items():
            progress.say(f"{what}: {number} {reason}")
        progress.say(f"{found['kept']} {what} of {found['wanted']}")
        if found["missing"]:
            progress.warn(
                f"{found['missing']} {what} of {found['wanted']} are missing: the teacher wrote too few that passed"
            )
    progress.say(str(made.folder))
