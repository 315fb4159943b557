"""Prompt sets: requests that are to be declined (harmful) or answered (benign), by name or from a user's file."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medsafe_train import artifacts
from medsafe_train.config import UserError, shipped
from medsafe_train.sources.files import Row, named_part, present, read_file, text_of, unique_ids
from medsafe_train.sources.read import Location, read

SUFFIXES = (".jsonl", ".json", ".csv")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prompt:
    """One request."""

    id: str
    prompt: str
    principle: int | None = None
    """1-9, the AMA principle at stake, where known"""
    pair: str | None = None
    """what a harmful request and its benign twin have in common"""
    response: str | None = None
    """the safe response that came with it"""


@dataclass(frozen=True)
class PromptSet:
    """Requests of one kind, with where they came from."""

    name: str
    kind: str
    """harmful or benign"""
    prompts: list[Prompt]
    sha256: dict[str, str]
    licence: str = "not stated"
    citation: str = "not stated"

    def fingerprint(self, responses: bool = False) -> str:
        """Of what is asked: ids, prompts and principles; with `responses` of those that came along, too."""
        more = [p.response for p in self.prompts] if responses else []
        return artifacts.fingerprint([[p.id, p.prompt, p.principle] for p in self.prompts] + more)

    def describe(self) -> dict[str, Any]:
        """For records: name, kind, number, origin."""
        return {
            "name": self.name,
            "kind": self.kind,
            "n": len(self.prompts),
            "sha256": self.sha256,
            "licence": self.licence,
            "citation": self.citation,
        }


@dataclass(frozen=True)
class TrainingSets:
    """What demonstrations are written for, by what becomes of it, and what is kept from training."""

    harmful: list[PromptSet]
    """to be declined"""
    benign: list[PromptSet]
    """near the border, to be answered"""
    replay: list[PromptSet]
    """far from the border, to be answered"""
    validation: list[PromptSet]
    """asked to choose between settings, never trained on and never reported as a result"""


def asked(sets: list[PromptSet]) -> dict[str, Prompt]:
    """All requests of several sets by `set/id`."""
    return {f"{s.name}/{prompt.id}": prompt for s in sets for prompt in s.prompts}


@dataclass(frozen=True)
class Published:
    """What conf/prompt_set/NAME.yaml says of a set."""

    kind: str
    parts: dict[str, Location]
    prompt: str = "prompt"
    """the column with the request"""
    response: str = "response"
    """the column with a safe response, where there is one"""
    where: dict[str, str | int] = field(default_factory=dict)
    """columns and the value that a row must have there to be in the set; a number in a CSV file is text, and compared as such"""
    pattern: str | None = None
    """a regular expression on the file's name whose groups make the id; a group `principle` gives the principle"""
    counts: dict[str, int] = field(default_factory=dict)
    licence: str = "not stated"
    citation: str = "not stated"


def names() -> list[str]:
    """The prompt sets known by name."""
    return sorted(file.stem for file in (shipped("conf") / "prompt_set").glob("*.yaml"))


def is_file(name: str) -> bool:
    """Whether a prompt set's name is a path."""
    return name.endswith(SUFFIXES) or "/" in name


def published(name: str) -> Published:
    """What is known of a named set; UserError with the nearest names when nothing is."""
    file = shipped("conf") / "prompt_set" / f"{name}.yaml"
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(names())};"
        raise UserError(f"unknown prompt set {name!r}: {hint} or give a .jsonl or .csv file with a `prompt` column")
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    parts = {part: Location(**where) for part, where in content.pop("parts").items()}
    return Published(parts=parts, **content)


def load(name: str, kind: str, part: str, data_folder: str | None = None) -> PromptSet:
    """The `part` (train, validation or test) of a named set, or of a user's file.

    `kind` is how the set is used; a named set of the other kind is refused. A file's rows may carry `id`, `principle`
    and `part`; without `part` all of them are used.
    """
    if is_file(name):
        return _from_file(Path(name), kind, part)
    known = published(name)
    if known.kind != kind:
        raise UserError(f"{name} holds {known.kind} requests but is named where {kind} ones belong: move it")
    if part not in known.parts:
        raise UserError(f"{name} has no {part} part; it has: {', '.join(known.parts)}")
    table = read(known.parts[part], data_folder)
    rows = [row for row in table.rows if row.values.get("part", part) == part]
    rows = [
        row for row in rows if all(str(row.values.get(column)) == str(value) for column, value in known.where.items())
    ]
    numbered: dict[str, int] = defaultdict(int)
    prompts = []
    for row in rows:
        prompts.append(
            _prompt(row, known.prompt, known.response, _from_name(known.pattern, row.file), numbered[row.file])
        )
        numbered[row.file] += 1
    expected = known.counts.get(part)
    if expected not in (None, len(prompts)):
        raise UserError(f"{name} {part}: {len(prompts)} requests where {expected} are published: check data_folder")
    unique_ids(((p.id, row.place) for p, row in zip(prompts, rows, strict=True)), name)
    return PromptSet(name, kind, prompts, table.sha256, known.licence, known.citation)


def _from_file(path: Path, kind: str, part: str) -> PromptSet:
    rows = present(read_file(path), str(path))
    for row in rows:
        if named_part(row) not in (None, *PARTS):
            raise UserError(f"{row.place}: part {row.values['part']!r}: write {', '.join(PARTS)}, or leave it out")
    without = [row for row in rows if not named_part(row)]
    if 0 < len(without) < len(rows):
        raise UserError(
            f"{without[0].place}: no part, while other rows have one: write {', '.join(PARTS)} in every row, or in none"
        )
    rows = [row for row in rows if (named_part(row) or part) == part]
    if not rows:
        raise UserError(f"{path}: no row has part {part!r}: add some, or drop the column to use all rows")
    prompts = [_prompt(row, "prompt", "response", {}, number) for number, row in enumerate(rows)]
    unique_ids(((p.id, row.place) for p, row in zip(prompts, rows, strict=True)), "request")
    return PromptSet(path.stem, kind, prompts, {path.name: artifacts.sha256(path)})


def has_parts(name: str) -> bool:
    """Whether training and evaluation read different rows of a set."""
    if not is_file(name):
        return len(published(name).parts) > 1
    return any(named_part(row) for row in read_file(Path(name)))


def part_of(prompts: PromptSet, share: float, inside: bool) -> PromptSet:
    """The requests of a set that fall into a share of all requests, or those that do not; a pair stays together."""

    def falls(prompt: Prompt) -> bool:
        return int(hashlib.sha256(f"part\n{pair_of(prompt)}".encode()).hexdigest()[:8], 16) < share * 16**8

    return replace(prompts, prompts=[prompt for prompt in prompts.prompts if falls(prompt) == inside])


def pair_of(prompt: Prompt) -> str:
    """What a request has in common with its twin: the pair that both name, else the sha256 of the harmful one's text."""
    # A twin names its harmful request by the hash of the text, where that text is not ours to ship.
    return prompt.pair or hashlib.sha256(prompt.prompt.strip().encode()).hexdigest()


def extended(training: TrainingSets, more: list[PromptSet], share: float) -> TrainingSets:
    """Training sets and further ones beside them, of whose requests a share is kept for validation as of all others."""
    kept = [found for s in more if (found := part_of(s, share, True)).prompts]
    added = {kind: [part_of(s, share, False) for s in more if s.kind == kind] for kind in ("harmful", "benign")}
    return replace(
        training,
        harmful=training.harmful + added["harmful"],
        benign=training.benign + added["benign"],
        validation=training.validation + kept,
    )


def without(prompts: PromptSet, ids: set[str]) -> PromptSet:
    """A set without the requests whose `set/id` is named."""
    return replace(prompts, prompts=[p for p in prompts.prompts if f"{prompts.name}/{p.id}" not in ids])


def _prompt(row: Row, column: str, answer: str, groups: dict[str, str], number: int) -> Prompt:
    # Instruction files, as Alpaca and its kin have them: an instruction, and perhaps an input to it.
    instructed = column not in row.values and "instruction" in row.values
    prompt = text_of(row, "instruction" if instructed else column)
    if instructed and str(row.values.get("input") or "").strip():
        prompt = f"{prompt}\n\n{text_of(row, 'input')}"
    default = "-".join([*groups.values(), f"{number:03d}"])
    principle = groups.get("principle") or row.values.get("principle")
    if principle not in (None, "") and not re.fullmatch(r"[1-9]", str(principle)):
        raise UserError(f"{row.place}: principle {principle!r}: give 1 to 9 (the AMA principle), or leave it out")
    pair = row.values.get("pair")
    return Prompt(
        id=default if row.values.get("id") in (None, "") else str(row.values["id"]),
        prompt=prompt,
        principle=int(principle) if principle not in (None, "") else None,
        pair=str(pair) if pair else None,
        response=str(row.values.get(answer) or "").strip() or None,
    )


def _from_name(pattern: str | None, file: str) -> dict[str, str]:
    if pattern is None:
        return {}
    match = re.search(pattern, file)
    if match is None:
        raise UserError(f"{file}: its name does not fit {pattern}: correct the prompt set's pattern")
    return match.groupdict()


def limited(prompts: PromptSet, limit: int | None) -> PromptSet:
    """The first `limit` prompts of a set, taken in turn from each principle, in the set's order."""
    if limit is None or limit >= len(prompts.prompts):
        return prompts
    queues: dict[int | None, list[int]] = defaultdict(list)
    for position, prompt in enumerate(prompts.prompts):
        queues[prompt.principle].append(position)
    rounds = max(len(queue) for queue in queues.values())
    order = [queue[n] for n in range(rounds) for queue in queues.values() if n < len(queue)]
    return replace(prompts, prompts=[prompts.prompts[position] for position in sorted(order[:limit])])
