"""Benchmarks of medical questions: those known by name, and a user's own file or description."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.config import UserError
from medsafe_train.sources.descriptions import TEXTS, Published, name_of, names, published
from medsafe_train.sources.files import Row, named_part, unique_ids
from medsafe_train.sources.question_rows import DECISIONS, READERS, Question, detect, prepared, row_id
from medsafe_train.sources.read import Location, Table, locate, read

# What a row's column `part` may say: asked, or shown as a worked example.
ASKED, SHOWN = "test", ("shots", "train", "dev", "validation")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's description, and the questions it leads to."""

    name: str
    style: str
    """how prompts.py shapes a question"""
    normalise: bool
    """whether an option's log-likelihood is divided by its length in characters (lm-evaluation-harness: acc_norm)"""
    questions: list[Question]
    sha256: dict[str, str]
    licence: str
    citation: str
    description: str = ""
    """a line before everything else, as MMLU has it"""
    pool: list[Question] = field(default_factory=list)
    """worked examples to choose shots from: never one that is asked"""
    first_shots: bool = False
    """whether seed 0 takes the first of the pool, as the reference harness does for MMLU"""
    as_published: bool | None = None
    """whether the files are those that this was tested with; None where that cannot be told (the Hub, a user's own)"""

    @property
    def lettered(self) -> bool:
        """Whether its options are scored by their letters, not by their texts."""
        return self.style not in TEXTS

    def fingerprint(self) -> str:
        """Of what is asked and how, without the shots."""
        items = [[q.id, q.question, q.options, q.answer, q.context] for q in self.questions]
        return artifacts.fingerprint([self.style, self.normalise, self.description, items])

    def describe(self) -> dict[str, Any]:
        """For records: name, number, origin."""
        return {
            "name": self.name,
            "n": len(self.questions),
            "sha256": self.sha256,
            "as_published": self.as_published,
            "licence": self.licence,
            "citation": self.citation,
        }

    def shots(self, number: int, seed: int) -> list[Question]:
        """The worked examples for a seed, the same for every question; UserError when there are too few."""
        if number > len(self.pool):
            held = f"{len(self.pool)} worked examples" if self.pool else "no worked examples"
            raise UserError(
                f"medical_qa.shots={number}: {self.name} has {held} (a train or dev part): lower it or give the part"
            )
        if self.first_shots and seed == 0:
            return self.pool[:number]
        return random.Random(seed).sample(self.pool, number)


def load(given: str, limit: int | None = None, data_folder: str | None = None, shots: bool = False) -> Benchmark:
    """A benchmark's test questions, the first `limit` of them, and with `shots` the worked examples it has."""
    known, name = published(given), name_of(given)
    asked, shown, digests = _read_parts(known, data_folder, shots)
    answered = _questions(known, asked, name)
    questions = [question for question, _ in answered]
    if known.count not in (None, len(questions)):
        raise UserError(
            f"{name}: {len(questions)} questions where {known.count} are expected: check {', '.join(digests)}"
        )
    if not questions:
        what = f"`only`, {known.only}, and" if known.only else ""
        raise UserError(f"{name}: no question to ask in {', '.join(digests)}: check it, {what} its column `part`")
    texts, style = {q.asks for q in questions}, known.style or _style(questions)
    if known.normalise and style not in TEXTS:
        raise UserError(f"{given}: normalise is for options scored by their text: set style to cloze, or remove it")
    examples = _questions(known, shown, name) if shots else []
    # Not what is asked, whatever its options: a worked example must not bring an answer near.
    pool = [q for q, _ in examples if q.asks not in texts]
    _check_contexts(name, style, [*questions, *pool])
    as_published = _as_published(known, name, digests)
    _check_keys([*answered, *examples], as_published or (as_published is None and given in names()))
    return Benchmark(
        name=name,
        style=style,
        normalise=known.normalise,
        questions=questions[:limit],
        sha256=digests,
        licence=known.licence,
        citation=known.citation,
        description=known.description,
        pool=pool,
        first_shots=known.first_shots,
        as_published=as_published,
    )


def _read_parts(known: Published, data_folder: str | None, shots: bool) -> tuple[list[Row], list[Row], dict[str, str]]:
    """Rows to ask, rows to show, and the sha256 of every file that they came from."""
    table = read(known.where, data_folder)
    digests = dict(table.sha256)
    asked, shown = _parts(_matching(known, table))
    if known.ids:
        official = read(_beside(known, known.ids, data_folder), data_folder)
        digests |= official.sha256
        wanted = {_official_id(row) for row in prepared(official.rows)}
        if unknown := sorted(wanted - {row_id(row) for row in asked}):
            raise UserError(
                f"{', '.join(official.sha256)}: id {unknown[0]!r} is no question's in {', '.join(table.sha256)}: correct it"
            )
        asked, rest = ([row for row in asked if (row_id(row) in wanted) is kept] for kept in (True, False))
        shown += rest if known.shots == "rest" else []
    if shots and isinstance(known.shots, Location):
        more = read(_beside(known, known.shots, data_folder), data_folder)
        digests |= more.sha256
        shown += _matching(known, more)
    return asked, shown, digests


def _beside(known: Published, location: Location, data_folder: str | None) -> Location:
    # Where the questions lie in data_folder, so do their ids and worked examples: what is missing there is no other version elsewhere.
    inside = known.where.folder and not locate(known.where, data_folder)[0].startswith(("hub:", "https://"))
    return replace(location, url=None, hub=None) if inside and location.folder else location


def _matching(known: Published, table: Table) -> list[Row]:
    only = {name.lower(): value for name, value in known.only.items()}
    # A number in a CSV file is text, and compared as such.
    rows = prepared(table.rows)
    return [row for row in rows if all(str(row.values.get(key)) == str(value) for key, value in only.items())]


def _parts(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    # What says no part is asked.
    for row in rows:
        if named_part(row) not in (None, ASKED, *SHOWN):
            raise UserError(
                f"{row.place}: part {row.values['part']!r} is not one of {ASKED}, {', '.join(SHOWN)}: correct it"
            )
    asked = [row for row in rows if named_part(row) in (None, ASKED)]
    return asked, [row for row in rows if named_part(row) in SHOWN]


def _official_id(row: Row) -> str:
    if (id := row_id(row)) is None:
        raise UserError(f"{row.place}: no column 'id'; there are: {', '.join(map(str, row.values))}: rename one")
    return id


def _questions(known: Published, rows: Sequence[Row], name: str) -> list[tuple[Question, str]]:
    # Each with the place that it stood at.
    if not rows:
        return []
    reader = READERS[detect(rows[0]) if known.reader == "auto" else known.reader]
    pairs = [(reader(row, number), row.place) for number, row in enumerate(rows)]
    unique_ids(((question.id, place) for question, place in pairs), name)
    return pairs


def _check_keys(pairs: Sequence[tuple[Question, str]], as_published: bool) -> None:
    # One question with the same options has one answer. Nobody here can mend what others have published.
    seen: dict[Any, tuple[Question, str]] = {}
    for question, place in pairs:
        answered, optioned = question.identities
        other, before = seen.setdefault(optioned, (question, place))
        if other.identities[0] == answered:
            continue
        right, first = question.options[question.answer].strip(), other.options[other.answer].strip()
        said = f"{place}: the question and options of {before} with another answer, {right!r} where it was {first!r}"
        if not as_published:
            raise UserError(f"{said}: correct one of them, or remove it")
        progress.warn(f"{said}; so it is published")


def _style(questions: list[Question]) -> str:
    return "pubmedqa" if all(q.context and q.options == DECISIONS for q in questions) else "medqa"


def _check_contexts(name: str, style: str, questions: list[Question]) -> None:
    bare = next((q for q in questions if not q.context), None)
    if style == "pubmedqa" and bare:
        raise UserError(
            f"{name} {bare.id}: no context, and style pubmedqa asks about one: add a column 'abstract', or set another style "
            "(cloze compares the options' texts)"
        )


def _as_published(known: Published, name: str, digests: dict[str, str]) -> bool | None:
    found = {Path(place).name: digest for place, digest in digests.items() if not place.startswith("hub:")}
    compared = {file: digest for file, digest in known.sha256.items() if file in found}
    different = [file for file, digest in compared.items() if found[file] != digest]
    if different:
        progress.warn(f"{name}: {', '.join(different)} is not the published file byte for byte: compare with care")
    return not different if compared else None
