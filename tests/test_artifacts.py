"""Artifacts are whole or absent, found again, and never written over."""

import json
import subprocess
import sys
import textwrap

import pytest

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text) and None


def test_made_once_and_found_again(store):
    first = store.make("kind", {"x": 1}, write("one"))
    again = store.make("kind", {"x": 1}, write("two"))
    assert first == again and first.path("a.txt").read_text() == "one"
    assert store.make("kind", {"x": 2}, write("two")).id != first.id
    assert store.place("kind", {"x": 1}) == first and first.made


def test_the_record_says_what_made_it_and_holds_every_sha256(store):
    made = store.make("kind", {"x": 1}, write("one"))
    record = made.json(artifacts.MADE_FROM)
    assert record["made_from"] == {"kind": "kind", "x": 1}
    assert record["files"] == {"a.txt": artifacts.sha256(made.path("a.txt"))}
    assert record["versions"]["torch"]


def test_a_build_that_fails_leaves_no_artifact_but_its_work(store):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        store.make("kind", {"x": 1}, fail)
    assert not store.place("kind", {"x": 1}).folder.exists()

    def go_on(folder):
        assert (folder / "half.txt").read_text() == "half"
        (folder / "a.txt").write_text("whole")

    assert store.make("kind", {"x": 1}, go_on).path("a.txt").read_text() == "whole"


def test_what_was_paid_for_is_kept_until_the_artifact_has_its_name(store, monkeypatch):
    """A kill between the last file and the folder's name would have every reply paid for again."""

    def build(folder):
        ledger = Ledger(folder / "replies.partial.jsonl")
        seen.append(len(ledger.records))
        ledger.add([{"id": "1"}])
        (folder / "a.txt").write_text("whole")

    seen, sync = [], artifacts._sync
    monkeypatch.setattr(artifacts, "_sync", lambda path: 1 / 0 if path.is_dir() else sync(path))
    with pytest.raises(ZeroDivisionError):  # all is sealed, and the folder has not got its name
        store.make("kind", {"x": 1}, build)
    monkeypatch.undo()
    made = store.make("kind", {"x": 1}, build)
    assert seen == [0, 1] and sorted(p.name for p in made.folder.iterdir()) == ["a.txt", artifacts.MADE_FROM]
    made.path("replies.partial.jsonl").write_text("")  # a kill between the name and the tidying
    assert artifacts.find_damage(made.folder) is None and store.make("kind", {"x": 1}, build) == made
    assert not made.path("replies.partial.jsonl").exists()


@pytest.mark.parametrize("damage", ["change", "remove", "record"])
def test_damage_is_named_set_aside_and_mended(store, capsys, damage):
    made = store.make("kind", {"x": 1}, write("one"))
    if damage == "change":
        made.path("a.txt").write_text("two")
    elif damage == "remove":
        made.path("a.txt").unlink()
    else:
        made.path(artifacts.MADE_FROM).write_text("{")
    again = store.make("kind", {"x": 1}, write("one"))
    assert again.path("a.txt").read_text() == "one" and artifacts.find_damage(again.folder) is None
    said = " ".join(capsys.readouterr().out.split())
    assert made.id in said and ("a.txt" if damage != "record" else artifacts.MADE_FROM) in said
    assert len(list(made.folder.parent.glob(".damaged-*"))) == 1


def test_a_good_artifact_is_never_written_to(store):
    made = store.make("kind", {"x": 1}, write("one"))
    before = made.path("a.txt").stat().st_mtime_ns
    store.make("kind", {"x": 1}, lambda folder: pytest.fail("built again"))
    assert made.path("a.txt").stat().st_mtime_ns == before


def test_reopened_it_is_gone_on_with_even_after_a_stop_in_between(store, monkeypatch, capsys):
    """A folder with its name and without its record would be set aside as damaged, and all of it be paid for again."""
    made = store.make("kind", {"x": 1}, write("paid for"))
    seen: list[str] = []
    for stopped in ("rename", "unlink"):
        with monkeypatch.context() as stop:
            stop.setattr(artifacts.Path, stopped, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                store.reopen(made)
        again = store.make("kind", {"x": 1}, lambda folder: seen.append((folder / "a.txt").read_text()))
        assert artifacts.find_damage(again.folder) is None and "damaged" not in "".join(capsys.readouterr())
    assert seen == ["paid for"]  # the stop before anything has changed leaves it finished
    assert store.reopen(made) and not made.made and not store.reopen(made)


def test_nothing_is_reopened_over_work_under_way(store):
    made = store.make("kind", {"x": 1}, write("one"))
    (made.folder.parent / f".partial-{made.id}").mkdir()
    assert not store.reopen(made) and made.made and artifacts.find_damage(made.folder) is None


def test_what_finished_artifacts_rest_on_is_known(store):
    made = store.make("kind", {"x": 1}, write("one"))
    assert not store.rests_on(made)
    other = store.make("other", {"of": made.id}, write("two"))
    assert store.rests_on(made) and not store.rests_on(other)
    store.reopen(other)
    assert not store.rests_on(made)


def test_killed_while_building_the_artifact_is_absent(tmp_path):
    code = textwrap.dedent(f"""
        import os, pathlib, signal
        from medsafe_train.artifacts import Store
        def build(folder):
            (folder / "a.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        Store(pathlib.Path({str(tmp_path)!r})).make("kind", {{"x": 1}}, build)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    kept = artifacts.Store(tmp_path)
    assert not kept.place("kind", {"x": 1}).made
    assert kept.make("kind", {"x": 1}, write("whole")).path("a.txt").read_text() == "whole"


def test_two_processes_make_it_once(tmp_path):
    code = textwrap.dedent(f"""
        import pathlib, time
        from medsafe_train.artifacts import Store
        def build(folder):
            with open({str(tmp_path / "built")!r}, "a") as file:
                file.write("x")
            time.sleep(0.5)
            (folder / "a.txt").write_text("one")
        Store(pathlib.Path({str(tmp_path)!r})).make("kind", {{"x": 1}}, build)
    """)
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "built").read_text() == "x"


def test_fingerprint_does_not_depend_on_the_order_of_keys():
    assert artifacts.fingerprint({"a": 1, "b": [2]}) == artifacts.fingerprint({"b": [2], "a": 1})
    assert artifacts.fingerprint({"a": 1}) != artifacts.fingerprint({"a": 1.5})


def test_ledger_keeps_whole_records_and_cuts_a_torn_one(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).add([{"id": "a", "n": 1}, {"id": "b", "n": 2}])
    with path.open("ab") as file:
        file.write(b'{"id": "c", "n"')
    ledger = Ledger(path)
    assert list(ledger.records) == ["a", "b"]
    ledger.add([{"id": "b", "n": 9}, {"id": "c", "n": 3}])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "c", "n": 3},
    ]  # fmt: skip


def test_records_survive_odd_line_ends(tmp_path):
    text = "one\u2028two\u2029three\x85four\r\nfive"
    artifacts.write_jsonl(tmp_path / "a.jsonl", [{"id": "a", "text": text}])
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    assert Artifact(tmp_path).records("a.jsonl")[0]["text"] == text


def test_not_a_number_is_refused():
    with pytest.raises(ValueError):
        artifacts.fingerprint({"loss": float("nan")})


def test_a_stage_says_whether_what_it_makes_was_there(store, capsys):

    def make(*numbers):
        with progress.stage("finetune", "something"):
            for number in numbers:
                store.make("finetune", {"number": number}, lambda folder: (folder / "a").write_text("a"))
        return "made before" in capsys.readouterr().out

    assert [make(1), make(1), make(1, 2), make(1, 2), make()] == [False, True, False, True, False]
