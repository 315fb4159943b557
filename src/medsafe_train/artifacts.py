"""What stages hand to each other, and how it is kept: folders named by a hash of what made them, whole or absent."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from medsafe_train import progress

MADE_FROM = "made_from.json"
TEMPORARY = ".writing-"
# How the ledgers of work under way end: no part of an artifact, and gone once it is whole.
PARTIAL = ".partial.jsonl"
LIBRARIES = ("medsafe_train", "torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "openai")


@dataclass(frozen=True)
class Artifact:
    """A finished folder; its name is the hash of what made it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def kind(self) -> str:
        """The stage that makes it."""
        return self.folder.parent.name

    @property
    def made(self) -> bool:
        """Whether it is there, whole."""
        return (self.folder / MADE_FROM).is_file()

    def path(self, name: str) -> Path:
        return self.folder / name

    def records(self, name: str) -> list[dict[str, Any]]:
        return list(read_jsonl(self.folder / name))

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Store:
    """Keeps artifacts under `root/<kind>/<id>`."""

    root: Path

    def place(self, kind: str, made_from: dict[str, Any]) -> Artifact:
        """Where the artifact made from exactly this is or will be."""
        return Artifact(self.root / kind / fingerprint({"kind": kind, **made_from}))

    def make(self, kind: str, made_from: dict[str, Any], build: Callable[[Path], None]) -> Artifact:
        """The artifact made from exactly this: the one that is there, or a new one that `build` writes.

        `build` gets a working folder that outlives a killed process, so that it can go on where it was; what it keeps there in
        files named `*.partial.jsonl` is removed last of all. The folder gets its name only when all of it is on disk. A folder whose files no longer have their recorded sha256 is
        set aside, named, and made again; a good one is never written to.
        """
        folder = self.place(kind, made_from).folder
        home, name = folder.parent, folder.name
        home.mkdir(parents=True, exist_ok=True)
        working = home / f".partial-{name}"
        with FileLock(home / f".lock-{name}"):
            if folder.exists():
                damage = find_damage(folder)
                if damage is None:
                    _tidy(folder)
                    progress.met(there=True)
                    return Artifact(folder)
                aside = next(p for n in itertools.count(1) if not (p := home / f".damaged-{name}-{n}").exists())
                progress.warn(f"{kind} artifact {folder} is damaged ({damage}): kept as {aside.name}, made again")
                folder.rename(aside)
            working.mkdir(exist_ok=True)
            build(working)
            _seal(working, {"kind": kind, **made_from})
            working.rename(folder)
            _sync(home)
            _tidy(folder)
        progress.met(there=False)
        return Artifact(folder)

    def reopen(self, artifact: Artifact) -> bool:
        """Make a finished artifact unfinished again, with its files, and say whether it is: the next `make` goes on with it.

        It stays as it is where work on another of its name is under way.
        """
        home, name = artifact.folder.parent, artifact.id
        working = home / f".partial-{name}"
        with FileLock(home / f".lock-{name}"):
            if not artifact.made or working.exists():
                return False
            # In this order: a folder with its name and without its record would be taken for a damaged one.
            artifact.folder.rename(working)
            (working / MADE_FROM).unlink()
            _sync(home)
            return True

    def rests_on(self, artifact: Artifact) -> bool:
        """Whether a finished artifact was made from this one."""
        records = (file for file in self.root.glob(f"*/*/{MADE_FROM}") if not file.parent.name.startswith("."))
        return any(f'"{artifact.id}"' in file.read_text(encoding="utf-8") for file in records)


def fingerprint(value: Any) -> str:
    """The first 16 hex digits of the sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_damage(folder: Path) -> str | None:
    """What is wrong with a finished artifact's files, in a few words, or None."""
    try:
        recorded = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MADE_FROM} is missing or unreadable"
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != digest:
            return f"{name} has changed"
    return None


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=TEMPORARY, delete=False, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write records as JSON lines, whole or not at all."""
    write_text(path, "".join(_line(record) for record in records))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file that this program wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


class Ledger:
    """A JSONL file that grows by one flushed record an item, for stages that must survive being killed.

    Records have an `id`. A record with an `error` is a failure: a later record of the same id takes its place, where a
    good one stays. What a killed process left half-written at the end is cut off when the file is opened.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    record = None
                if record is None:
                    break
                self.records[record["id"]] = record
                whole += len(line)
        os.truncate(self.path, whole)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records of what is not there yet or had failed, and see them onto the disk."""
        new = [record for record in records if not self.holds(record["id"])]
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(_line(record) for record in new)
            file.flush()
            os.fsync(file.fileno())
        self.records.update((record["id"], record) for record in new)

    def holds(self, id: str) -> bool:
        """Whether there is a record of it that is no failure."""
        record = self.records.get(id)
        return record is not None and record.get("error") is None


def _line(record: dict[str, Any]) -> str:
    # U+2028 and its like end a line for some readers; escaped, they are harmless to all.
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085") + "\n"


def _seal(working: Path, made_from: dict[str, Any]) -> None:
    """See every file onto the disk, then record what made them and their sha256, last of all."""
    (working / MADE_FROM).unlink(missing_ok=True)
    for torn in working.rglob(f"{TEMPORARY}*"):  # left by a process that was killed while it wrote
        torn.unlink()
    files = sorted(path for path in working.rglob("*") if path.is_file() and not path.name.endswith(PARTIAL))
    for path in files:
        _sync(path)
    write_json(
        working / MADE_FROM,
        {
            "made_from": made_from,
            "files": {path.relative_to(working).as_posix(): sha256(path) for path in files},
            "versions": {name: version for name in LIBRARIES if (version := library_version(name))},
        },
    )
    _sync(working)


def _tidy(folder: Path) -> None:
    # Not before the folder has its name: what a reply has cost would be paid again after a kill in between.
    for ledger in folder.glob(f"*{PARTIAL}"):
        ledger.unlink()


def library_version(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_bytes(path: Path) -> int:
    """Free disk space where `path` is or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
