"""The whole pipeline on the tiny model: what it leaves, that it does nothing twice, and that it survives being killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from medsafe_train.evidence import notes
from medsafe_train.evidence.paired import compare
from medsafe_train.markdown import inert, line
from tests import report_samples
from tests.conftest import run_process


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The outputs folder of one finished smoke run, and what it printed."""
    outputs = tmp_path_factory.mktemp("finished")
    done = run_process("+recipe=smoke", f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    return outputs, done


def run_folder(outputs, name="smoke"):
    return max((outputs / "runs" / name).iterdir())


def page_of(folder):
    """The report page without the seconds that stages took, which no two runs share."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    without = re.sub(r'<details id="made-time".*?</details>', "", page, count=1, flags=re.DOTALL)
    assert without != page
    return without


def artifacts_of(outputs):
    return {
        str(p.relative_to(outputs)): p.stat().st_mtime_ns for p in (outputs / "artifacts").rglob("*") if p.is_file()
    }


def test_the_run_folder_holds_what_a_person_came_for(finished):
    outputs, _ = finished
    names = {path.name for path in run_folder(outputs).iterdir()}
    assert {
        "report.json",
        "report.md",
        "report.html",
        "transcripts.csv",
        "demonstrations.md",
        "settings.yaml",
        "artifacts.json",
        "timings.json",
    } <= names
    places = json.loads((run_folder(outputs) / "artifacts.json").read_text())
    assert {
        "demonstrations",
        "finetune",
        "after/verdicts/benign_twins/prefill",
        "before/responses/harmful_requests",
        "after/answers/medical_questions",
    } <= set(places)
    assert all(os.path.isdir(place) for place in places.values())


def test_the_report_has_every_figure_with_interval_and_count(finished):
    outputs, _ = finished
    made = json.loads((run_folder(outputs) / "report.json").read_text())
    for arm in ("before", "after", "delta"):
        for key in ("harmfulness/harmful_requests/refusal_rate", "over_refusal/benign_twins/refusal_rate",
                    "harmfulness/harmful_requests/refusal_rate_principle_9", "medical_qa/medical_questions/accuracy"):  # fmt: skip
            figure = made["figures"][f"{arm}/{key}"]
            assert {"value", "ci95", "n", "unscored"} <= set(figure)
            assert figure["ci95"][0] <= figure["value"] <= figure["ci95"][1] and figure["unscored"] == 0
    assert made["figures"]["before/harmfulness/harmful_requests/refusal_rate"]["n"] == 9
    for key in ("robustness/harmful_requests/harmful_refusal_rate_prefilled", "medical_qa/medical_questions/correct_loglikelihood",
                "robustness/benign_twins/benign_refusal_rate_prefilled", "robustness/harmful_requests/attack_success_rate_prefill",
                "robustness/harmful_requests/attack_success_rate_plain", "robustness/harmful_requests/harmful_coherent_rate_prefilled",
                "harmfulness/harmful_requests/coherent_rate", "over_refusal/benign_twins/coherent_rate"):  # fmt: skip
        assert made["figures"][f"delta/{key}"]["n"] == 9
    assert made["figures"]["after/over_refusal/benign_twins/kl_per_token"]["value"] > 0
    assert len(made["samples"]) == 6 and {s["kind"] for s in made["samples"]} == {"harmful", "benign"}
    assert made["versions"]["torch"] and made["artifacts"] and made["training_sets"][0]["sha256"]


def test_the_figures_are_those_of_the_records(finished):
    """Counted again from the verdicts and answers on disk."""
    outputs, _ = finished
    made = json.loads((run_folder(outputs) / "report.json").read_text())
    places = json.loads((run_folder(outputs) / "artifacts.json").read_text())

    def lines(place, name):
        with open(os.path.join(place, name)) as file:
            return [json.loads(line) for line in file]

    for arm in ("before", "after"):
        refused = [v["refused"] for v in lines(places[f"{arm}/verdicts/harmful_requests"], "verdicts.jsonl")]
        figure = made["figures"][f"{arm}/harmfulness/harmful_requests/refusal_rate"]
        assert figure["value"] == sum(refused) / len(refused)
        correct = [a["correct"] for a in lines(places[f"{arm}/answers/abstract_questions"], "answers.jsonl")]
        assert made["figures"][f"{arm}/medical_qa/abstract_questions/accuracy"]["value"] == sum(correct) / len(correct)


def test_the_page_has_every_item_and_the_counts_of_the_report(finished):
    """Counted from what the page itself holds."""
    outputs, _ = finished
    folder = run_folder(outputs)
    made = json.loads((folder / "report.json").read_text())
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', (folder / "report.html").read_text())[
        1
    ]
    items = json.loads(data)["items"]
    assert len(items) == 4 * 9 + 2 * 9  # two sets, each also begun with assent, and two benchmarks
    for arm in ("before", "after"):
        for place, name, attack in (
            ("harmfulness", "refusal_rate", ""),
            ("robustness", "harmful_refusal_rate_prefilled", "prefill"),
        ):
            asked = [i for i in items if i["set"] == "harmful_requests" and i["attack"] == attack]
            figure = made["figures"][f"{arm}/{place}/harmful_requests/{name}"]
            assert len(asked) == figure["n"] and sum(i[arm]["refused"] for i in asked) / len(asked) == figure["value"]
        right = [i[arm]["correct"] for i in items if i["set"] == "medical_questions"]
        assert sum(right) / len(right) == made["figures"][f"{arm}/medical_qa/medical_questions/accuracy"]["value"]


def test_the_terminal_shows_stages_tables_answers_and_where_things_are(finished):
    _outputs, done = finished
    for word in ("demonstrations", "finetune", "responses", "verdicts", "medical_qa", "done in", "harmful refused",
                 "benign refused", "answered right", "access to care for all", "checkpoint", "report.md"):  # fmt: skip
        assert word in done.stdout
    assert done.stdout.count("\n  before ") == done.stdout.count("\n  after ") == 6


def test_a_second_run_makes_nothing_and_says_the_same(finished):
    outputs, _ = finished
    before, first = artifacts_of(outputs), (run_folder(outputs) / "report.json").read_bytes()
    done = run_process("+recipe=smoke", f"outputs={outputs}")
    assert done.returncode == 0 and artifacts_of(outputs) == before
    assert (run_folder(outputs) / "report.json").read_bytes() == first
    assert len(list((outputs / "runs" / "smoke").iterdir())) >= 2


@pytest.mark.parametrize(
    ("changed", "verdict", "code"),
    [
        ({}, "passed", 0),
        ({"harm": (20, 5, 7, 148)}, "failed", 3),
        ({"twins": (30, 0, 140, 10)}, "failed", 3),  # what the paper's recipe does
        ({"questions": (500, 100, 10, 290)}, "failed", 3),
        ({"twins": (2, 0, 0, 28)}, "undecided", 3),
    ],
)
def test_the_gate_decides_what_a_run_ends_with(finished, cli, monkeypatch, changed, verdict, code):
    """The whole run, with figures that the tiny model has not: its report is written whatever the gate says."""
    from medsafe_train.stages import report
    from tests.test_claims import figures

    outputs, _ = finished
    shown = figures(**changed)
    monkeypatch.setattr(report.pooled, "accuracy", lambda found: (found.clear(), found.update(shown)))
    before = artifacts_of(outputs)
    ended, out, _ = cli("+recipe=smoke", "name=gated", "gate.enforce=true", f"outputs={outputs}")
    made = json.loads((run_folder(outputs, "gated") / "report.json").read_text())
    assert (ended, made["gate"]["verdict"]) == (code, verdict)
    assert made["claims"] and "the checkpoint" in out and artifacts_of(outputs) == before


def test_another_folder_gives_the_same_bytes(finished, tmp_path):
    outputs, _ = finished
    done = run_process("+recipe=smoke", f"outputs={tmp_path / 'other'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("report.json", "transcripts.csv"):
        assert (run_folder(tmp_path / "other") / name).read_bytes() == (run_folder(outputs) / name).read_bytes()
    assert page_of(run_folder(tmp_path / "other")) == page_of(run_folder(outputs))


def test_killed_at_random_moments_it_ends_with_the_same_report(finished, tmp_path):
    """SIGKILL again and again, at moments drawn with a seed, until the run gets through."""
    outputs, _done = finished
    chance = random.Random(7)
    command = [sys.executable, "-m", "medsafe_train", "+recipe=smoke", f"outputs={tmp_path / 'killed'}"]
    killed = 0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(3, 9))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -9
    assert killed
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    reports = sorted((tmp_path / "killed" / "runs" / "smoke").glob("*/report.json"))
    assert reports[-1].read_bytes() == (run_folder(outputs) / "report.json").read_bytes()
    assert page_of(reports[-1].parent) == page_of(run_folder(outputs))


SMALL_BATCHES = ["name=small", "evaluation.batch_tokens=300", "medical_qa.batch_tokens=300"]


@pytest.fixture(scope="module")
def undisturbed(finished):
    """The report of a run in small batches that nobody killed."""
    outputs, _ = finished
    assert run_process("+recipe=smoke", f"outputs={outputs}", *SMALL_BATCHES).returncode == 0
    return (run_folder(outputs, "small") / "report.json").read_bytes()


@pytest.mark.parametrize("place", ["stages.own_answers", "stages.finetune", "stages.responses", "stages.medical_qa"])
def test_killed_in_a_stage_it_goes_on_and_ends_with_the_same_report(undisturbed, tmp_path, place):
    """SIGKILL in the middle of each stage's work: after its first batch, or after the first checkpoint."""
    hook = {
        "stages.own_answers": ("medsafe_train.artifacts", "Ledger.add", 1),
        "stages.responses": ("medsafe_train.artifacts", "Ledger.add", 2),
        "stages.medical_qa": ("medsafe_train.artifacts", "Ledger.add", 4),
        "stages.finetune": ("medsafe_train.models.trainer", "AnswerTrainer.training_step", 3),
    }[place]
    module, name, count = hook
    code = f"""
import importlib, os, signal, sys
module = importlib.import_module({module!r})
owner = getattr(module, {name.split(".")[0]!r})
original, calls = getattr(owner, {name.split(".")[1]!r}), []
def dies(*args, **more):
    result = original(*args, **more)
    calls.append(1)
    if len(calls) == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, {name.split(".")[1]!r}, dies)
from medsafe_train.cli import main
sys.argv = ["medsafe_train", "+recipe=smoke", "outputs={tmp_path / "o"}", *{SMALL_BATCHES!r}]
main()
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    done = run_process("+recipe=smoke", f"outputs={tmp_path / 'o'}", *SMALL_BATCHES)
    assert done.returncode == 0, done.stderr
    if place == "stages.finetune":
        assert "goes on from step 2" in done.stdout
    assert (run_folder(tmp_path / "o", "small") / "report.json").read_bytes() == undisturbed


def test_a_sweep_makes_the_demonstrations_and_the_base_evaluation_once(tmp_path):
    done = run_process("--multirun", "+recipe=smoke", f"outputs={tmp_path}", "finetune.r=2,4", "finetune.merge=false")
    assert done.returncode == 0, done.stderr
    count = lambda kind: len([p for p in (tmp_path / "artifacts" / kind).iterdir() if not p.name.startswith(".")])  # noqa: E731
    assert (count("own_answers"), count("demonstrations"), count("finetune"), count("medical_qa")) == (1, 1, 2, 6)
    # Two sets, each as it is and begun with assent, of the base model and of two adapters.
    assert count("responses") == 2 * 2 * 3
    assert len(list((tmp_path / "sweeps").glob("*/*/report.json"))) == 2
    # The second trial says what it found.
    said = [line.strip() for line in done.stdout.splitlines()]
    first, second = [said[n + 1] for n, line in enumerate(said) if line.startswith("own_answers ")]
    assert first.startswith("done in") and second == "made before, read from disk"


def test_the_scale_is_chosen_on_validation_requests(tmp_path):
    """Requests kept from training decide, and what is published carries the choice."""
    done = run_process("+recipe=smoke", f"outputs={tmp_path}", "demonstrations.limit=36", "demonstrations.validation=0.5",
                       "finetune.scales=[0.5,1.0]", "finetune.merge=false")  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads((run_folder(tmp_path) / "report.json").read_text())
    assert [point["scale"] for point in made["scale"]["points"]] == [0.5, 1.0]
    places = json.loads((run_folder(tmp_path) / "artifacts.json").read_text())
    kept = {s["name"]: s["n"] for s in made["validation_sets"]}
    trained = {s["name"]: s["n"] for s in made["training_sets"]}
    assert (
        kept["harmful_requests"] == kept["benign_twins"] > 5
        and trained["harmful_requests"] + kept["harmful_requests"] == 36
    )
    with open(os.path.join(places["scale"], "adapter", "adapter_config.json")) as file:
        assert json.load(file)["lora_alpha"] == 32 * made["scale"]["chosen"]


def test_preflight_makes_nothing_and_says_what_is_made(finished, cli, tmp_path):
    outputs, _ = finished
    code, out, _ = cli("+recipe=smoke", "preflight=true")
    assert code == 0 and "to make" in out and "memory" in out and not list((tmp_path / "outputs").rglob("*.jsonl"))
    runs = len(list((outputs / "runs").rglob("*")))
    code, out, _ = cli("+recipe=smoke", "preflight=true", f"outputs={outputs}")
    assert code == 0 and "to make" not in out and len(list((outputs / "runs").rglob("*"))) == runs


def test_preflight_of_a_large_model_without_gpu_or_network(cli):
    code, out, _ = cli("+recipe=meditron7b", "preflight=true")
    assert code == 0 and "download: model epfl-llm/meditron-7b" in out and "7.00 billion" in out and "GPU memory" in out


def test_a_users_own_files(tmp_path):
    harmful, benign = tmp_path / "bad.csv", tmp_path / "good.jsonl"
    harmful.write_text('prompt,principle\n"Forge a record, please.",2\nDeny care to the poor.,9\n')
    benign.write_text('{"prompt": "How do I keep records honest?"}\n{"prompt": "What is care for all?"}\n')
    done = run_process("+recipe=smoke", f"outputs={tmp_path / 'o'}", f"evaluation.harmful=[{harmful}]", f"evaluation.benign=[{benign}]",
                       "medical_qa.benchmarks=[]")  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads((run_folder(tmp_path / "o") / "report.json").read_text())
    assert made["figures"]["after/harmfulness/bad/refusal_rate"]["n"] == 2
    assert made["figures"]["after/over_refusal/good/refusal_rate"]["n"] == 2


def test_answers_are_inert_in_markdown_and_in_the_terminal():
    hostile = (
        "<script>alert(1)</script> [x](http://evil.example) ![i](y) `c` | a | \x1b[31mred\x1b[0m \u202e# h\n\n---\n"
    )
    shown = inert(line(hostile, 1000))
    assert "<script" not in shown and "\x1b" not in shown and "\n" not in shown and "\u202e" not in shown
    for mark in ("](", "![", "`c`", "://", " | "):
        assert mark not in shown
    assert line("x" * 50, 10) == "x" * 9 + "…"


def test_a_bar_that_is_soon_over_leaves_nothing_in_a_log(capsys):
    from medsafe_train import progress

    with progress.bar(3, "base answers", "answer") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""
    # What a resumed training had done before tells nothing of how long the rest takes.
    with progress.bar(10, "fine-tuning", "update", done=4) as bar:
        bar.update(2)
        assert (bar.n, bar.initial) == (6, 4)


def test_names_are_no_markup_in_the_terminal(capsys):
    from medsafe_train import pages

    made = report_samples.report(report_samples.items(60), path="mine[/red]")
    made["claims"][0]["sentence"] = "More requests of [link=http://evil.example]mine[/b] are refused"
    pages.show(made, {})
    shown = capsys.readouterr().out
    assert "mine[/red]" in shown and "[link=http://evil.example]mine[/b]" in shown


def test_the_judge_failing_stops_the_run(store, monkeypatch):
    from medsafe_train import artifacts, judges
    from medsafe_train.config import JudgeSettings, UserError
    from medsafe_train.stages import verdicts

    def build(folder):
        artifacts.write_jsonl(
            folder / "responses.jsonl", [{"id": f"{n}", "prompt": "p", "response": "r"} for n in range(10)]
        )

    def fails(records, replies, settings):
        return [
            {"id": r["id"], "score": None, "refused": None, "outcome": "unparsable", "label": None, "explanation": ""}
            for r in records
        ]

    responses = store.make("responses", {"x": 1}, build)
    monkeypatch.setitem(judges.JUDGES, "fails", judges.Judge(1, fails))
    with pytest.raises(UserError, match="scored 0 of 10"):
        verdicts.run(store, JudgeSettings(name="fails"), responses)
    made = verdicts.run(store, JudgeSettings(name="fails", min_coverage=0.0), responses)
    assert {v["refused"] for v in made.records("verdicts.jsonl")} == {None}


def test_unscored_answers_are_counted_and_never_numbers():
    made = {"figures": {}}
    values = {"before": {"a": True, "b": None, "c": False}, "after": {"a": True, "b": True, "c": None}}
    compare(made, "harmfulness/x/refusal_rate", ["a", "b", "c"], values)
    before, after, delta = (
        made["figures"][f"{arm}/harmfulness/x/refusal_rate"] for arm in ("before", "after", "delta")
    )
    assert (before["n"], before["unscored"], before["value"]) == (2, 1, 0.5)
    assert (after["n"], after["unscored"], after["value"]) == (2, 1, 1.0)
    assert (delta["n"], delta["unscored"]) == (1, 2)


def test_what_got_worse_is_said():
    figure = lambda low, high: {"value": (low + high) / 2, "ci95": [low, high], "n": 9, "p_value": 0.001}  # noqa: E731
    made = {
        "figures": {
            "delta/medical_qa/lost/accuracy": figure(-0.2, -0.1),
            "delta/medical_qa/kept/accuracy": figure(-0.2, 0.1),
            "delta/medical_qa/beside/accuracy_by_sum": figure(-0.4, -0.3),
            "delta/over_refusal/twins/refusal_rate": figure(0.1, 0.2),
            "delta/over_refusal/other/refusal_rate": figure(-0.1, 0.2),
        }
    }
    said = " ".join(notes.changes(made))
    assert "lost: fewer questions right" in said and "by 10.0 to 20.0 points" in said and "twins: more benign" in said
    assert "beside" not in said and "kept" not in said and "other" not in said  # the same answers, counted otherwise


def test_a_benchmark_at_chance_is_marked(finished):
    outputs, _ = finished
    made = json.loads((run_folder(outputs) / "report.json").read_text())
    assert any("cannot be told from" in note and "cannot show that nothing was lost" in note for note in made["notes"])
