"""What is known of a benchmark: by name (conf/benchmark), from a user's YAML, or of a file of questions."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medsafe_train.config import UserError, shipped
from medsafe_train.sources.files import SPREADSHEETS
from medsafe_train.sources.question_rows import READERS
from medsafe_train.sources.read import Location

STYLES = ("medqa", "medmcqa", "mmlu", "pubmedqa", "cloze")
# The styles whose options are scored by their text, not by a letter.
TEXTS = ("cloze", "pubmedqa")
FILES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", *SPREADSHEETS)
DESCRIPTIONS = (".yaml", ".yml")
# Names that stand for all benchmarks here whose names begin with them.
GROUPS = ("mmlu",)
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


def members(group: str) -> list[str]:
    """The benchmarks known by name that a group's name stands for."""
    return [name for name in names() if name.startswith(f"{group}_")]


def expanded(given: Sequence[str]) -> list[str]:
    """Benchmarks as they are named, each group by its members."""
    return [name for one in given for name in (members(one) if one in GROUPS else [one])]


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
        known = [*names(), *GROUPS]
        meant = given.lower()
        begun = [name for name in known if name.startswith(meant)]
        close = list(dict.fromkeys([*begun, *difflib.get_close_matches(meant, known, n=3)]))
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UserError(
            f"unknown benchmark {given!r}: {hint}there are: {', '.join(known)}; or give a JSON, JSONL, CSV, Parquet or YAML file"
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
    _check_effect(path, content)


def _check_effect(path: Path, content: dict[Any, Any]) -> None:
    # What would do nothing is not what its author means.
    if content.get("shots") == "rest" and not content.get("ids"):
        raise UserError(
            f"{path}: shots rest is what ids leave, and there are no ids: name the ids, or a file of worked examples"
        )


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
