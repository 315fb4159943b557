"""Benchmarks of medical questions: those known by name, and a user's own file or description."""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medsafe_train import artifacts, progress
from medsafe_train.config import UserError, shipped
from medsafe_train.sources.question_rows import DECISIONS, READERS, Question, detect, row_id
from medsafe_train.sources.read import Location, Row, Table, read, unique_ids

# What a row's column `part` may say: asked, or shown as a worked example.
ASKED, SHOWN = "test", ("shots", "train", "dev", "validation")
STYLES = ("medqa", "medmcqa", "mmlu", "pubmedqa", "cloze")
FILES = (".jsonl", ".json", ".csv", ".parquet")
DESCRIPTIONS = (".yaml", ".yml")
# What a description's plain keys hold, and how that is said.
KINDS: dict[str, tuple[type, str]] = {
    "only": (dict, "columns and values, {subject: anatomy}"),
    "sha256": (dict, "files and hashes, {mine.jsonl: 2e51...}"),
    "count": (int, "a whole number"),
    "first_shots": (bool, "true or false"),
    "normalise": (bool, "true or false"),
    "description": (str, "a text"),
    "licence": (str, "a text"),
    "citation": (str, "a text"),
}


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


@dataclass(frozen=True)
class Published:
    """What a benchmark's YAML says: conf/benchmark/NAME.yaml, or a user's."""

    where: Location
    reader: str = "auto"
    """a key of question_rows.READERS; auto: by the columns"""
    style: str | None = None
    """one of STYLES; unset: pubmedqa for a context with yes, no, maybe, else medqa"""
    only: dict[str, str] = field(default_factory=dict)
    """columns and the values that a row must have in them, where one file holds several benchmarks"""
    ids: Location | None = None
    """where the official test ids are, when the file holds more than those"""
    shots: Location | str | None = None
    """where worked examples are; `rest`: what the official ids leave. A column `part` (test, train) says it too"""
    first_shots: bool = False
    normalise: bool = False
    description: str = ""
    count: int | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    """of the published files, by name"""
    licence: str = "not stated"
    citation: str = "not stated"


def names() -> list[str]:
    """The benchmarks known by name."""
    return sorted(file.stem for file in (shipped("conf") / "benchmark").glob("*.yaml"))


def name_of(given: str) -> str:
    """What a benchmark is called in a report: its name, or its file's without folder and suffix."""
    return Path(given).stem if given.lower().endswith((*FILES, *DESCRIPTIONS)) else given


def published(given: str) -> Published:
    """What is known of a benchmark: by name, from a user's YAML, or of a file of questions; UserError when nothing is."""
    path = Path(given)
    if given.lower().endswith(FILES):
        return Published(where=Location(file=given), licence="the user's own", citation="the user's own")
    if given.lower().endswith(DESCRIPTIONS):
        if not path.is_file():
            raise UserError(f"medical_qa.benchmarks: no file {given}: correct the path")
        return _described(path)
    if given not in names():
        close = difflib.get_close_matches(given, names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UserError(
            f"unknown benchmark {given!r}: {hint}there are: {', '.join(names())}; or give a YAML, JSON, JSONL or CSV file"
        )
    return _described(shipped("conf") / "benchmark" / f"{given}.yaml")


def _described(path: Path) -> Published:
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:150]}): mend it") from None
    if not isinstance(content, dict) or content.get("where") is None:
        raise UserError(f"{path}: no `where`: say where the questions are, for example where: {{file: mine.jsonl}}")
    content = {key: value for key, value in content.items() if value is not None}
    _check_keys(path, content)
    for key in ("where", "ids", "shots"):
        if key in content and not (key == "shots" and content[key] == "rest"):
            content[key] = _location(path, key, content[key])
    return Published(**content)


def _check_keys(path: Path, content: dict[Any, Any]) -> None:
    known = {f.name for f in fields(Published)}
    for key, value in content.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known))}"
            raise UserError(f"{path}: unknown key {key}: {hint}")
        kind, said = KINDS.get(key, (object, ""))
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(f"{path}: {key} {value!r} is not {said}: correct it")
    for key, allowed in (("reader", ("auto", *READERS)), ("style", STYLES)):
        if key in content and content[key] not in allowed:
            raise UserError(f"{path}: {key} {content[key]!r} is not one of {', '.join(allowed)}: correct it")


def _location(path: Path, key: str, given: Any) -> Location:
    given = {"file": given} if isinstance(given, str) else given
    known = [f.name for f in fields(Location)]
    if not isinstance(given, dict) or not set(given) <= set(known):
        raise UserError(f"{path}: {key} is {given!r}: give some of {', '.join(known)}")
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        _check_place(f"{path}: {key}.{name}", name, value)
    if not any(given.get(place) for place in ("data", "folder", "file", "url", "hub")):
        raise UserError(f"{path}: {key} names no place: give file, hub, url or folder")
    if given.get("file"):
        given = {**given, "file": str(path.parent / given["file"])}
    return Location(**given)


def _check_place(where: str, name: str, value: Any) -> None:
    if name == "columns":
        if not isinstance(value, list) or not all(isinstance(column, str) for column in value):
            raise UserError(f"{where} {value!r} is not a list of names: correct it")
    elif not isinstance(value, str):
        raise UserError(f"{where} {value!r} is not one text: put it in quotes, or name one file or set")


def load(given: str, limit: int | None = None, data_folder: str | None = None, shots: bool = False) -> Benchmark:
    """A benchmark's test questions, the first `limit` of them, and with `shots` the worked examples it has."""
    known, name = published(given), name_of(given)
    asked, shown, digests = _read_parts(known, data_folder, shots)
    questions = _questions(known, asked, name)
    if known.count not in (None, len(questions)):
        raise UserError(f"{name}: {len(questions)} questions where {known.count} are published: check data_folder")
    if not questions:
        raise UserError(f"{name}: no question to ask in {', '.join(digests)}: check it, and its column `part`")
    texts, style = {q.asks for q in questions}, known.style or _style(questions)
    pool = [q for q in _questions(known, shown, name) if q.asks not in texts] if shots else []
    _check_contexts(name, style, [*questions, *pool])
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
        as_published=_as_published(known, name, digests),
    )


def _read_parts(known: Published, data_folder: str | None, shots: bool) -> tuple[list[Row], list[Row], dict[str, str]]:
    """Rows to ask, rows to show, and the sha256 of every file that they came from."""
    table = read(known.where, data_folder)
    digests = dict(table.sha256)
    asked, shown = _parts(_matching(known, table))
    if known.ids:
        official = read(known.ids, data_folder)
        digests |= official.sha256
        wanted = {_official_id(row) for row in official.rows}
        asked, rest = ([row for row in asked if (row_id(row) in wanted) is kept] for kept in (True, False))
        shown += rest if known.shots == "rest" else []
    if shots and isinstance(known.shots, Location):
        more = read(known.shots, data_folder)
        digests |= more.sha256
        shown += _matching(known, more)
    return asked, shown, digests


def _matching(known: Published, table: Table) -> list[Row]:
    return [row for row in table.rows if all(row.values.get(key) == value for key, value in known.only.items())]


def _parts(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    # Without a column `part`, everything is asked.
    for row in rows:
        if row.values.get("part", ASKED) not in (ASKED, *SHOWN):
            raise UserError(
                f"{row.place}: part {row.values['part']!r} is not one of {ASKED}, {', '.join(SHOWN)}: correct it"
            )
    asked = [row for row in rows if row.values.get("part", ASKED) == ASKED]
    return asked, [row for row in rows if row.values.get("part", ASKED) != ASKED]


def _official_id(row: Row) -> str:
    if (id := row_id(row)) is None:
        raise UserError(f"{row.place}: no column 'id'; there are: {', '.join(map(str, row.values))}: rename one")
    return id


def _questions(known: Published, rows: Sequence[Row], name: str) -> list[Question]:
    if not rows:
        return []
    reader = READERS[detect(rows[0]) if known.reader == "auto" else known.reader]
    pairs = [(reader(row, number), row.place) for number, row in enumerate(rows)]
    unique_ids(((question.id, place) for question, place in pairs), name)
    return [question for question, _ in pairs]


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
