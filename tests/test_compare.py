"""Finished runs side by side: what is one trial, mean and spread over seeds, the front, the best under the gate, dose curves."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from medsafe_train import comparison
from medsafe_train.comparison import trials
from medsafe_train.config import CheckpointGateSettings, UserError
from tests.conftest import run_process
from tests.test_claims import HARM, OTHER, QUESTIONS, TWINS, figures, measured

PATIENT = CheckpointGateSettings(min_refusal=0.5)


def write(folder, seed=0, found=None, model="tiny", version=3, **settings):
    """A finished run's report, as far as a comparison reads it."""
    flat = {"demonstrations": {"limit": None}, "finetune": {"r": 8, "learning_rate": 1e-4}}
    for key, value in settings.items():
        section, _, name = key.partition("__")
        flat[section][name] = value
    report = {
        "version": version, "name": "quickstart", "model": {"path": model, "revision": "x"}, "judge": {"name": "refusal"},
        "prompt_sets": [{"name": "requests", "n": 180, "sha256": "a"}], "benchmarks": [{"name": "questions", "n": 900}],
        "settings": {"name": "quickstart", "seed": seed, "gate": {"enforce": False}, **flat}, "figures": found or figures(),
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))
    return str(folder)


def harm_of(refused, of=180):
    """Figures with so many harmful requests refused after."""
    return figures(harm=(40, 2, refused - 40, of - refused - 2))


@pytest.fixture
def compare(tmp_path):
    """Compare folders: the result and the folder it is in."""

    def run(*folders, thresholds=PATIENT):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return comparison.run([str(f) for f in folders], thresholds, out).result, out

    return run


def test_three_seeds_are_one_trial_with_mean_and_spread_of_each_figure(compare, tmp_path):
    for seed, refused in enumerate((150, 160, 170)):
        write(tmp_path / "runs" / f"{seed}", seed, harm_of(refused))
    result, out = compare(tmp_path / "runs")
    (trial,) = result["trials"]
    assert trial["seeds"] == [0, 1, 2] and trial["name"] == "quickstart"
    found, shares = trial["figures"][f"after/{HARM}"], [150 / 180, 160 / 180, 170 / 180]
    assert found["value"] == pytest.approx(np.mean(shares)) and found["sd"] == pytest.approx(np.std(shares, ddof=1))
    # Wilson's interval is where the mean is t standard errors away, of as many items as the spread makes it.
    t, effective = stats.t.ppf(0.975, 2), found["value"] * (1 - found["value"]) / stats.sem(shares) ** 2
    for end in found["ci95"]:
        assert abs(end - found["value"]) == pytest.approx(t * (end * (1 - end) / effective) ** 0.5, abs=1e-9)
    assert found["values"] == pytest.approx(shares) and found["n"] == 3 and found["items"] == 180
    assert set(trial["figures"]) == set(figures())
    page = (out / "compare.md").read_text()
    assert (
        "| after/harmfulness/requests/refusal\\_rate | 88.9 % | 5.6 points |" in page
        and "83.3 %, 88.9 %, 94.4 %" in page
    )
    assert not any("same seed" in note for note in result["notes"])


def test_names_of_figures_are_whole_in_the_terminal(compare, tmp_path, capsys):
    place = f"over_refusal/{'requests_of_many_kinds_' * 4}/refusal_rate"
    for seed in (0, 1):
        write(tmp_path / "runs" / f"{seed}", seed, figures() | measured(place, 10, 2, 3, 30))
    compare(tmp_path / "runs")
    assert "…" not in capsys.readouterr().out


def test_the_same_seed_twice_counts_once(compare, tmp_path):
    write(tmp_path / "a", 0), write(tmp_path / "b", 0)
    result, _ = compare(tmp_path / "a", tmp_path / "b", tmp_path / "a")
    (trial,) = result["trials"]
    assert trial["seeds"] == [0, 0] and "sd" not in trial["figures"][f"after/{HARM}"] and result["runs"] == 2


def test_trials_are_told_apart_by_what_differs(compare, tmp_path):
    for number, (r, rate) in enumerate([(8, 1e-4), (16, 1e-4), (8, 2e-4)]):
        write(tmp_path / "sweep" / f"{number}", finetune__r=r, finetune__learning_rate=rate)
    result, _ = compare(tmp_path / "sweep")
    assert result["differ_in"] == ["finetune.learning_rate", "finetune.r"]
    assert [t["name"] for t in result["trials"]][:2] == ["learning_rate=0.0001 r=8", "learning_rate=0.0001 r=16"]
    assert any("same seed" in note for note in result["notes"])


def test_the_front_is_what_no_other_beats(compare, tmp_path):
    write(tmp_path / "safe", found=figures(harm=(40, 2, 137, 1), twins=(100, 5, 90, 705)), finetune__r=1)
    write(tmp_path / "useful", found=figures(harm=(40, 2, 110, 28), twins=(100, 5, 8, 787)), finetune__r=2)
    write(tmp_path / "beaten", found=figures(harm=(40, 2, 100, 38), twins=(100, 5, 60, 735)), finetune__r=3)
    write(tmp_path / "wise", found=figures(harm=(40, 2, 90, 48), twins=(100, 5, 70, 725), questions=(600, 2, 60, 238)), finetune__r=4)  # fmt: skip
    result, out = compare(*(tmp_path / name for name in ("safe", "useful", "beaten", "wise")))
    assert [t["name"] for t in result["trials"] if t["front"]] == ["r=1", "r=2", "r=4"]
    safe = result["trials"][0]
    assert safe["harm"] == pytest.approx(1 - 177 / 180) and safe["over_refusal"] == pytest.approx(190 / 900)
    assert safe["capability"] == pytest.approx(600 / 900)
    assert (out / "front.svg").read_text().startswith("<?xml")


def test_what_is_over_several_benchmarks_has_no_say_beside_them(compare, tmp_path):
    for seed in (0, 1):
        write(tmp_path / "a" / f"{seed}", seed, figures(other=(690, 12, 10, 188)))
        named = {key.replace("/other/", "/mmlu/"): figure for key, figure in figures(other=(690, 12, 10, 188)).items()}
        write(tmp_path / "b" / f"{seed}", seed, named)
    for folder, mine in (("a", "other"), ("b", "mmlu")):  # `of` says what is over several, not the name
        result, _ = compare(tmp_path / folder)
        shares = [
            result["trials"][0]["figures"][f"after/medical_qa/{name}/accuracy"]["value"] for name in ("questions", mine)
        ]
        assert result["trials"][0]["capability"] == pytest.approx(sum(shares) / 2)


def test_the_best_is_the_best_of_those_that_pass(compare, tmp_path):
    write(tmp_path / "safest", found=figures(harm=(40, 2, 137, 1), twins=(100, 5, 90, 705)), finetune__r=1)
    write(tmp_path / "good", found=harm_of(165), finetune__r=2)
    write(tmp_path / "fair", found=harm_of(150), finetune__r=3)
    result, out = compare(*(tmp_path / name for name in ("safest", "good", "fair")))
    assert result["best"] == "r=2" and "2 of 3 trials" in result["why"]
    assert {t["name"]: t["gate"] for t in result["trials"]} == {"r=1": "failed", "r=2": "passed", "r=3": "passed"}
    assert [name for name, verdict in result["trials"][0]["criteria"].items() if verdict == "failed"] == [
        "over_refusal"
    ]
    assert "r=2 ← best under the gate" in (out / "compare.md").read_text()


def test_where_none_passes_none_is_best_and_the_nearest_is_named(compare, tmp_path):
    write(tmp_path / "a", found=figures(twins=(100, 5, 90, 705)), finetune__r=1)
    write(tmp_path / "b", found=figures(twins=(100, 5, 190, 605), questions=(500, 100, 10, 290)), finetune__r=2)
    result, _ = compare(tmp_path / "a", tmp_path / "b")
    assert result["best"] is None and "r=1 comes nearest, against it: over_refusal" in result["why"]


def test_a_trial_passes_when_every_seed_does(compare, tmp_path):
    write(tmp_path / "a", 0, harm_of(165)), write(tmp_path / "b", 1, figures(twins=(100, 5, 90, 705)))
    result, _ = compare(tmp_path / "a", tmp_path / "b")
    assert result["trials"][0]["gate"] == "failed" and result["best"] is None


def test_what_failed_stands_apart_from_what_is_only_undecided(compare, tmp_path):
    few = figures(harm=(2, 0, 2, 176), questions=(6, 1, 1, 2), other=(6, 1, 1, 2), twins=(2, 1, 1, 6))
    write(tmp_path / "a", 0, few, finetune__r=1), write(tmp_path / "b", 1, harm_of(165), finetune__r=1)
    write(tmp_path / "c", 0, figures(twins=(2, 1, 1, 6)), finetune__r=2)
    result, out = compare(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    one, other = result["trials"]
    assert one["gate"] == "failed" and one["criteria"]["harm"] == "failed"
    undecided = [name for name, verdict in one["criteria"].items() if verdict == "undecided"]
    assert {"capability", "over_refusal"} <= set(undecided)
    said = f"failed (harm; undecided: {', '.join(undecided)})"
    assert said in (out / "compare.md").read_text() and said in (out / "compare.html").read_text()
    assert other["gate"] == "undecided" and "| undecided (over_refusal) |" in (out / "compare.md").read_text()


def test_dose_response_curves_have_an_interval_at_every_dose(compare, tmp_path):
    number = 0
    for source, add in (("[medical]", 0), ("[general]", -20)):
        for dose, refused in ((100, 120), (200, 150), (400, 170)):
            for seed in (0, 1, 2):
                write(tmp_path / "sweep" / f"{number}", seed, harm_of(refused + add + seed), demonstrations__limit=dose,
                      demonstrations__harmful=source)  # fmt: skip
                number += 1
    result, out = compare(tmp_path / "sweep")
    curves = {(c["figure"], c["held"]): c for c in result["curves"]}
    assert {c["setting"] for c in result["curves"]} == {"demonstrations.limit"}
    curve = curves[(HARM, "demonstrations.harmful=[medical]")]
    assert [p["at"] for p in curve["points"]] == [100, 200, 400]
    assert [p["value"] for p in curve["points"]] == pytest.approx([121 / 180, 151 / 180, 171 / 180])
    assert all(p["ci95"][0] < p["value"] < p["ci95"][1] and p["n"] == 3 for p in curve["points"])
    assert {c["figure"] for c in result["curves"]} == {HARM, TWINS, QUESTIONS, OTHER, "medical_qa/pooled/accuracy"}
    assert (out / "curve_harmfulness_requests_refusal_rate.svg").is_file()


def test_the_same_runs_give_the_same_bytes(compare, tmp_path):
    for number in (1, 2):
        write(tmp_path / f"{number}", found=harm_of(150 + number), finetune__r=number)
    _, out = compare(tmp_path / "1", tmp_path / "2")
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    compare(tmp_path / "1", tmp_path / "2")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first and "front.svg" in first


def test_what_is_not_comparable_is_said(compare, tmp_path):
    write(tmp_path / "a", model="one"), write(tmp_path / "b", model="other")
    result, _ = compare(tmp_path / "a", tmp_path / "b")
    assert any("differ in their base model" in note for note in result["notes"])


def test_models_measured_without_training_are_compared_too(compare, tmp_path):
    for name, refused in (("one", 30), ("other", 90)):
        found = {k: v for k, v in figures(harm=(refused, 0, 0, 180 - refused)).items() if k.startswith("before/")}
        write(tmp_path / name, found=found, model=name, finetune__r=len(name))
    result, _ = compare(tmp_path / "one", tmp_path / "other")
    assert [t["harm"] for t in result["trials"]] == pytest.approx([150 / 180, 90 / 180])
    assert result["best"] is None and {t["gate"] for t in result["trials"]} == {None}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {}, "figures": {}}', '{"settings": 3}'])
def test_what_is_no_report_ends_in_one_line(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UserError, match="not a report"):
        trials.read([str(tmp_path)])


def test_hostile_names_are_inert(compare, tmp_path):
    for number in (1, 2):
        write(
            tmp_path / f"{number}",
            finetune__r=number,
            finetune__target_modules="<script>alert(1)</script> | [x](http://e.x)",
        )
    write(tmp_path / "3", finetune__r=3, finetune__target_modules="[red]`$x$`")
    _, out = compare(*(tmp_path / str(n) for n in (1, 2, 3)))
    page = (out / "compare.md").read_text()
    assert (
        "<script" not in page and not re.search(r"(?<!\\)\](?=\()", page.partition("![")[0]) and "http://" not in page
    )
    assert "<script" not in (out / "front.svg").read_text()
    html = (out / "compare.html").read_text()
    assert "<script" not in html and "&lt;script&gt;" in html and "data:image/svg" in html


def test_the_command(cli, refused, tmp_path):
    write(tmp_path / "a" / "1", 0, harm_of(165)), write(tmp_path / "a" / "2", 1, harm_of(168))
    code, out, _ = cli("+recipe=compare", f"runs=[{tmp_path / 'a'}]")
    assert code == 0 and "Best under the gate" in out and "spread" in out
    (folder,) = (tmp_path / "outputs" / "runs" / "compare").iterdir()
    assert {"compare.json", "compare.md", "compare.html"} <= {path.name for path in folder.iterdir()}
    code, out, _ = cli("+recipe=compare", f"runs=[{tmp_path / 'a'}]", "preflight=true")
    assert code == 0 and "quickstart, seed 1" in out
    code, _, _ = cli("+recipe=compare", f"runs=[{tmp_path / 'a'}]", "gate.enforce=true", "gate.min_refusal=0.99")
    assert code == 3
    assert "name runs=" in refused("+recipe=compare")
    assert "no such folder" in refused("+recipe=compare", f"runs=[{tmp_path / 'none'}]")
    assert "holds no report.json" in refused("+recipe=compare", f"runs=[{tmp_path / 'outputs' / 'runs'}]")
    assert "+recipe=compare" in refused("+recipe=smoke", "runs=[a]")


def test_a_comparison_is_logged_to_wandb(tmp_path):
    write(tmp_path / "a", found=harm_of(165), finetune__r=1), write(tmp_path / "b", found=harm_of(150), finetune__r=2)
    outputs = f"outputs={tmp_path / 'outputs'}"
    done = run_process("+recipe=compare", f"runs=[{tmp_path / 'a'},{tmp_path / 'b'}]", "tracking.mode=offline", outputs)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout
    (file,) = (tmp_path / "outputs" / "runs" / "compare").rglob("*.wandb")
    stored = file.read_bytes()
    for key in (b"compare/r=1/harm", b"compare/best", b"compare/trials"):
        assert key in stored


def without(found, kind):
    """Figures of a run that was asked nothing of a kind."""
    return {key: figure for key, figure in found.items() if f"/{kind}/" not in key}


def test_a_run_of_questions_alone_takes_no_others_harm_away(compare, tmp_path):
    write(tmp_path / "whole", found=harm_of(165), finetune__r=1)
    write(tmp_path / "asked", found=without(without(figures(), "harmfulness"), "over_refusal"), finetune__r=2)
    result, _ = compare(tmp_path / "whole", tmp_path / "asked")
    whole, asked = result["trials"]
    assert result["best"] == whole["name"] and whole["harm"] == pytest.approx(15 / 180) and asked["harm"] is None
    assert asked["capability"] == whole["capability"] and whole["front"] and not asked["front"]


def test_runs_that_share_no_harmful_set_are_not_said_to_have_none(compare, tmp_path):
    write(tmp_path / "a", found=harm_of(165), finetune__r=1)
    other = {key.replace("harmfulness/requests", "harmfulness/others"): f for key, f in harm_of(150).items()}
    write(tmp_path / "b", found=other, finetune__r=2)
    result, _ = compare(tmp_path / "a", tmp_path / "b")
    assert result["best"] is None and "2 of 2 trials can be judged" in result["why"] and "in common" in result["why"]
    assert {trial["gate"] for trial in result["trials"]} == {"passed"}
    alone, _ = compare(tmp_path / "b")
    assert alone["best"] is not None


def test_reports_of_two_versions_are_not_averaged(tmp_path):
    write(tmp_path / "old", seed=0), write(tmp_path / "new", seed=1, version=4)
    with pytest.raises(UserError, match=r"versions 3 \(.*old\) and 4 \(.*new\).*name runs of one version") as error:
        trials.read([str(tmp_path)])
    assert "\n" not in str(error.value)
