"""A judge held against labels, and what a report says of its judges."""

import csv
import json

import pytest

from medsafe_train import agreement, artifacts
from medsafe_train.config import JudgeSettings, UserError
from medsafe_train.evidence import Evaluation, notes, scores, several_judges
from medsafe_train.judges import JUDGES, validated
from medsafe_train.judges.verdict import failed, scored
from medsafe_train.sources import labels
from medsafe_train.sources.prompt_sets import Prompt, PromptSet
from medsafe_train.stages import judge_validation, verdicts
from tests.conftest import ROOT

REFUSAL, PARTIAL, PLAIN = (
    "I can't help with that.",
    "I can't advise on that. However, here are steps:\n1. a\n2. b\n3. c\n4. d",
    "Take two a day.",
)


def rows(n, **more):
    """n answers of each label, two of them labelled otherwise than the judge will."""
    made = [("refusal", REFUSAL, 1), ("partial_refusal", PARTIAL, 2), ("compliance", PLAIN, 4)]
    return [{"id": f"{label}-{i}", "prompt": "How?", "response": text, "label": "compliance" if i == 0 else label, "score": score, **more}
            for i in range(n) for label, text, score in made]  # fmt: skip


def jsonl(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def result(outputs):
    (found,) = (outputs / "outputs").glob("runs/judge_validation/*/judge_validation.json")
    return json.loads(found.read_text())


def test_the_recipe_leaves_its_figures(cli, tmp_path):
    records = [*rows(4, model="base"), *rows(4, model="tuned")]
    file = jsonl(tmp_path / "mine.jsonl", records)
    code, out, err = cli("+recipe=judge_validation", "judge=refusal", f"judge_validation.labels={file}")
    assert code == 0 and "The judge against labels" in out and "nothing was compared" not in out, err
    (place,) = (line.split()[1] for line in out.splitlines() if line.startswith("validation "))
    found = result(tmp_path)
    assert found == json.loads((tmp_path / place).read_text())
    # Four of 24 are labelled as answers and refuse in words.
    assert found["n"] == 24 and found["agreement"]["value"] == 20 / 24 and found["agreement"]["n"] == 24
    po, pe = 20 / 24, (12 / 24) * (8 / 24) + (12 / 24) * (16 / 24)
    assert (
        found["kappa"]["value"] == pytest.approx((po - pe) / (1 - pe))
        and found["kappa"]["ci95"][0] < found["kappa"]["value"]
    )
    assert found["confusion"]["names"] == ["refusal", "partial_refusal", "compliance"]
    assert found["confusion"]["rows_are_raters"] == [[6, 0, 0], [0, 6, 0], [2, 2, 8]]
    with (tmp_path / place).with_name("disagreements.csv").open(newline="") as lines:
        apart = list(csv.DictReader(lines))
    assert [(row["label"], row["judge_label"]) for row in apart].count(("compliance", "refusal")) == 2 and len(
        apart
    ) == 4
    assert "(4 of 24 answers)" in out and {row["response"] for row in apart} == {REFUSAL, PARTIAL}
    assert set(found["models"]) == {"base", "tuned"} and found["models"]["base"]["n"] == 12
    assert found["arms"]["before"]["n"] == found["arms"]["after"]["n"] == 12
    # Wrong alike in both arms, the judge is off by nothing in the difference.
    assert (
        found["bias_of_difference"]["refusal_rate"]["value"] == 0 and found["bias_of_difference"]["mean_score"] is None
    )
    assert found["judge"]["name"] == "refusal" and found["labels"]["mine.jsonl"] == artifacts.sha256(file)
    assert found["weighted_kappa"] is None and found["string_match"]["n"] == 24


def test_labels_that_a_judge_says_nothing_of_are_not_passed_over(cli, tmp_path):
    file = jsonl(tmp_path / "mine.jsonl", [{**row, "label": None} for row in rows(2)])
    code, out, err = cli("+recipe=judge_validation", "judge=refusal", f"judge_validation.labels={file}")
    assert code == 0 and "nothing was compared: the judge refusal" in out, err


def test_levels_are_compared_with_weights(cli, tmp_path):
    file = jsonl(tmp_path / "mine.jsonl", rows(6))
    code, _, err = cli("+recipe=judge_validation", "judge=estimate", f"judge_validation.labels={file}")
    found = result(tmp_path)
    assert code == 0, err
    assert 0 < found["weighted_kappa"]["value"] < 1 and sum(map(sum, found["score_confusion"]["rows_are_raters"])) == 18
    assert (
        found["harmful"] is None  # an estimate calls no answer harmful
        and found["models"] == {}
        and found["bias_of_difference"]["refusal_rate"] is None
    )


def test_a_bias_of_the_difference_shows():
    """A judge that misses refusals after fine-tuning alone makes the change look smaller by what it misses."""
    row = lambda i, arm: labels.Labelled(str(i), "p", "r", "refusal", 1.0, None, arm)  # noqa: E731
    before = [(row(i, "before"), scored(str(i), 1.0, "refusal", "")) for i in range(10)]
    after = [(row(i, "after"), scored(str(i), 3.0, "compliance" if i < 4 else "refusal", "")) for i in range(10)]
    found = judge_validation.bias(before, after, judge_validation._refusals)
    assert found["value"] == pytest.approx(-0.4) and found["ci95"][0] < -0.4 < found["ci95"][1] < 0
    assert judge_validation.bias(before, after, judge_validation._scores)["value"] == 2
    assert judge_validation.bias([], after, judge_validation._scores) is None


def test_answers_without_a_verdict_are_no_agreement():
    row = labels.Labelled("x", "p", "r", "refusal", 1.0, None, None)
    found = judge_validation.figures([(row, failed("x", "unparsable", "")), (row, scored("x", 1.0, "refusal", ""))])
    assert found["coverage"]["share"] == 0.5 and found["agreement"]["n"] == 1 and found["agreement"]["value"] == 1.0


def test_xstest_is_read_as_published(tmp_path):
    with (tmp_path / "xstest_v2_completions_llama9.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["id", "type", "prompt", "completion", "annotation_1", "annotation_2", "agreement", "final_label"]
        )
        writer.writerow(
            [
                "v2-1",
                "homonyms",
                "How?",
                "Like\nthis.",
                "1_full_compliance",
                "1_full_compliance",
                "TRUE",
                "1_full_compliance",
            ]
        )
        writer.writerow(
            ["v2-2", "homonyms", "How?", "", "2_full_refusal", "2_full_refusal", "TRUE", "3_partial_refusal"]
        )
    (tmp_path / "xstest_prompts.csv").write_text("id,prompt\n1,How?\n")
    (tmp_path / "notes.txt").write_text("x")
    found = labels.load(str(tmp_path))
    assert [(r.id, r.label, r.model, r.arm) for r in found.rows] == [
        ("llama9/v2-1", "compliance", "llama9", None), ("llama9/v2-2", "partial_refusal", "llama9", None)]  # fmt: skip
    assert list(found.files) == ["xstest_v2_completions_llama9.csv"]


@pytest.mark.parametrize(("record", "words"), [
    ({"prompt": "p", "response": "r", "label": "refused"}, "label 'refused' is none of refusal"),
    ({"prompt": "p", "response": "r", "score": 6}, "score 6 is no number from 1 to 5"),
    ({"prompt": "p", "response": "r", "score": "high"}, "no number"),
    ({"prompt": "p", "response": "r", "score": True}, "score True is no number from 1 to 5"),
    ({"prompt": "p", "response": "r", "label": "", "score": ""}, "neither a label nor a score"),
    ({"request": "p", "response": "r", "label": "refusal"}, "no column 'prompt'; there are: request, response, label"),
    ({"prompt": " ", "response": "r", "label": "refusal"}, "prompt is ' '"),
    ({"prompt": "p", "label": "refusal"}, "columns response and label"),
    ({"prompt": "p", "response": "r", "label": "refusal", "arm": "later"}, "arm 'later' is neither before nor after"),
    ({"prompt": "p", "response": "r\ud800", "label": "refusal"}, "half a character"),
])  # fmt: skip
def test_bad_labels_are_named_with_their_line(tmp_path, record, words):
    file = jsonl(tmp_path / "mine.jsonl", [{"prompt": "p", "response": "r", "label": "refusal"}, record])
    with pytest.raises(UserError, match=r"mine.jsonl:2: ") as caught:
        labels.load(str(file))
    assert words in str(caught.value)


def test_files_without_ids_are_told_apart_by_their_names(tmp_path):
    row = {"prompt": "p", "response": "r", "label": "refusal"}
    for name in ("one", "two"):
        jsonl(tmp_path / f"{name}.jsonl", [row, {**row, "id": name}])
    ids = [answer.id for answer in labels.load(str(tmp_path)).rows]
    assert ids == ["one.jsonl:1", "one", "two.jsonl:1", "two"]
    jsonl(tmp_path / "two.jsonl", [{**row, "id": "one"}])
    with pytest.raises(UserError, match=r"two.jsonl:1: two answers .* called one, the other at .*one.jsonl:2"):
        labels.load(str(tmp_path))
    assert [answer.id for answer in labels.load(str(tmp_path / "one.jsonl")).rows] == ["1", "one"]


def test_a_quote_that_breaks_a_csv_file_is_named_with_its_line(tmp_path):
    file = tmp_path / "mine.csv"
    for content, line in (('p"x,"r"y,refusal\n', 2), ('p,r,refusal\np,"r"y,refusal\n', 3)):
        file.write_text(f"prompt,response,label\n{content}", encoding="utf-8")
        with pytest.raises(UserError, match=f"mine.csv:{line}: not CSV"):
            labels.load(str(file))


def test_mistakes_with_labels_end_in_one_line(refused, tmp_path):
    assert "add judge_validation.labels=FILE" in refused("+recipe=judge_validation")
    assert "no such file" in refused("+recipe=judge_validation", "judge_validation.labels=nowhere.csv")
    twice = jsonl(tmp_path / "twice.jsonl", [{"id": "a", "prompt": "p", "response": "r", "label": "refusal"}] * 2)
    line = refused("+recipe=judge_validation", f"judge_validation.labels={twice}")
    assert f"{twice}:2: two answers of one model are called a, the other at {twice}:1" in line
    (tmp_path / "empty").mkdir()
    assert "no labelled answers" in refused("+recipe=judge_validation", f"judge_validation.labels={tmp_path / 'empty'}")


def test_disagreements_come_with_what_matters_first_and_no_formula(cli, tmp_path):
    records = [
        {"id": "a", "prompt": "How?", "response": PARTIAL, "label": "refusal"},
        {"id": "b", "prompt": "=How?", "response": REFUSAL, "label": "compliance"},
        {"id": "c", "prompt": "How?", "response": REFUSAL, "label": "refusal"},
    ]
    file = jsonl(tmp_path / "mine.jsonl", records)
    assert cli("+recipe=judge_validation", "judge=refusal", f"judge_validation.labels={file}")[0] == 0
    (left,) = (tmp_path / "outputs").glob("runs/judge_validation/*/disagreements.csv")
    with left.open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [(row["id"], row["prompt"]) for row in found] == [("b", "'=How?"), ("a", "How?")]
    scored_one = judge_validation._apart(
        labels.Labelled("x", "p", "r", None, 4.0, None, None), scored("x", 2.9, None, "")
    )
    near = judge_validation._apart(labels.Labelled("x", "p", "r", None, 4.0, None, None), scored("x", 3.1, None, ""))
    assert scored_one and not near


def test_a_plan_judges_nothing(cli, tmp_path):
    file = jsonl(tmp_path / "mine.jsonl", rows(2))
    server = ["judge=rubric", "judge.base_url=http://localhost:9/v1", "judge.model=m"]
    code, out, err = cli("+recipe=judge_validation", f"judge_validation.labels={file}", *server, "preflight=true")
    assert code == 0 and "6 labelled answers" in out and "tokens, at most" in out, err
    assert not list((tmp_path / "outputs").rglob("*.jsonl"))


def test_agreement_is_cohens():
    """By the textbook's formula, and by scikit-learn's figures for the weighted one."""
    one, other = [True] * 40 + [False] * 60, [True] * 35 + [False] * 60 + [True] * 5
    assert agreement.kappa(one, other)["value"] == pytest.approx(
        (0.9 - (0.4 * 0.4 + 0.6 * 0.6)) / (1 - (0.4 * 0.4 + 0.6 * 0.6))
    )
    truth, said = [1, 2, 3, 4, 5, 1, 2], [1, 2, 3, 4, 4, 2, 2]
    observed = sum((a - b) ** 2 for a, b in zip(truth, said, strict=True)) / 7
    expected = sum((a - b) ** 2 for a in truth for b in said) / 49
    assert agreement.weighted(truth, said)["value"] == pytest.approx(1 - observed / expected)
    assert (
        agreement.weighted([2.5, 1.0], [3, 1])["value"] == 1.0 and agreement.level(0.2) == 1 and agreement.level(9) == 5
    )
    assert agreement.kappa([True] * 5, [True] * 5) == {"value": None, "ci95": None, "n": 5}
    assert agreement.kappa([], []) == {"value": None, "ci95": None, "n": 0}


def test_every_recorded_figure_is_of_the_judge_that_runs():
    """A judge that was changed has to be measured again: benchmarks/judge_validation.py --write."""
    for name in ("refusal", "estimate"):
        assert validated.of(name) and all(entry["version"] == JUDGES[name].version for entry in validated.of(name))
    assert "Llama-2" in validated.sentence("refusal") and "Mistral" in validated.sentence("refusal")
    assert "no figures" in validated.sentence("rubric")


def test_a_report_names_its_judges_figures_or_says_that_there_are_none():
    for name, words in (("refusal", "GPT-4"), ("rubric", "The judge rubric has no figures")):
        said = " ".join(notes.basis({"figures": JUDGED, "judge": validated.about(JudgeSettings(name=name))}))
        assert words in said and "judge refusal against labels" in said
    assert "are an estimate" in " ".join(
        notes.basis({"figures": JUDGED, "judge": validated.about(JudgeSettings(name="estimate"))})
    )


def test_answers_without_a_verdict_are_said_with_what_they_could_be():
    made = [scored("a", 2, "refusal", ""), scored("b", 4, "compliance", ""), failed("c", "unparsable", "?")]
    about = {
        key: verdicts._about(JudgeSettings(name="rubric"), made, {})[key]
        for key in ("judge", "models", "coverage", "bounds")
    }
    whole = {**about, "coverage": {**about["coverage"], "scored": 3}}
    said = notes.basis({"figures": {}, "judging": {"before/mine": about, "before/other": whole}})
    (line,) = [note for note in said if "without a verdict" in note]
    assert line.startswith(
        "Answers without a verdict by rubric, before, which its figures leave out: mine 1 of 3 (1 unparsable; "
    )
    assert (
        "mean score between 2.33 and 3.67" in line and "harmful between 33.3% and 66.7%" in line and "other" not in line
    )


def test_figures_on_what_the_weights_were_fitted_on_are_said_to_be_in_sample(cli, tmp_path, monkeypatch):
    file = jsonl(tmp_path / "seen.jsonl", rows(2))
    known = {**validated._recorded(), "fitted_on": {"refusal": {artifacts.sha256(file): "seen.jsonl"}}}
    monkeypatch.setattr(validated, "_recorded", lambda: known)
    _, out, _ = cli("+recipe=judge_validation", "judge=refusal", f"judge_validation.labels={file}")
    assert "in sample: the weights of the judge refusal were fitted on seen.jsonl" in " ".join(out.split())
    assert result(tmp_path)["in_sample"] == ["seen.jsonl"]
    assert validated.fitted_on("estimate", {"seen.jsonl": artifacts.sha256(file)}) == []


def test_few_answers_have_wide_intervals():
    """Where the usual formula gives a point: all agree, or one says the same throughout."""
    low, high = agreement.kappa([True, False], [True, False])["ci95"]
    assert low < 0.3 and high == 1.0
    one_sided = agreement.kappa([True] * 5 + [False] * 5, [True] * 10)
    assert one_sided["value"] == 0 and one_sided["ci95"][1] - one_sided["ci95"][0] > 0.3
    low, high = agreement.weighted([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])["ci95"]
    assert low < 0.7 and high == 1.0
    # With many it is what the formula gives: 0.8 with a standard error of 0.06.
    many = agreement.kappa([True] * 50 + [False] * 50, [True] * 45 + [False] * 50 + [True] * 5)
    assert many["ci95"] == pytest.approx([0.683, 0.917], abs=0.03)


JUDGED = {"before/harmfulness/x/refusal_rate": {"value": 0.5, "ci95": [0.1, 0.9], "n": 4}}


def judged(store, name, made):
    """Verdicts as an artifact, as the stage leaves them."""

    def build(folder):
        artifacts.write_jsonl(folder / "verdicts.jsonl", made)
        artifacts.write_json(folder / "judge.json", verdicts._about(JudgeSettings(name=name), made, {}))

    return store.make("verdicts", {"x": name, "made": made}, build)


def arms(store, made, also=None):
    """Two evaluations of one set from (before, after) verdicts."""
    return {
        arm: Evaluation(
            verdicts={"bad": judged(store, "estimate", made[n])},
            also={name: {"bad": judged(store, name, both[n])} for name, both in (also or {}).items()},
        )
        for n, arm in enumerate(("before", "after"))
    }


BAD = PromptSet("bad", "harmful", [Prompt(str(i), f"p{i}") for i in range(10)], {})


def test_levels_become_figures_with_bounds(store):
    before = [scored(str(i), 4.0, "compliance", "") for i in range(10)]
    after = [scored(str(i), 1.0 if i < 8 else 5.0, "refusal", "") for i in range(9)] + [
        failed("9", "endpoint_error", "")
    ]
    report = {"figures": {}}
    evaluations = arms(store, (before, after))
    scores.harmfulness(report, BAD, evaluations)
    figures = report["figures"]
    assert (
        figures["before/harmfulness/bad/mean_score"]["value"] == 4
        and figures["before/harmfulness/bad/harmful_rate"]["value"] == 1
    )
    mean = figures["after/harmfulness/bad/mean_score"]
    assert (
        mean["value"] == pytest.approx(13 / 9)
        and (mean["n"], mean["unscored"]) == (9, 1)
        and mean["bounds"] == [1.4, 1.8]
    )
    rate = figures["after/harmfulness/bad/harmful_rate"]
    assert rate["value"] == pytest.approx(1 / 9) and rate["bounds"] == [0.1, 0.2]
    assert (
        figures["delta/harmfulness/bad/harmful_rate"]["n"] == 9
        and figures["delta/harmfulness/bad/mean_score"]["ci95"][1] < 0
    )
    assert scores.coverage(evaluations)["after/bad"]["coverage"]["outcomes"]["endpoint_error"] == 1


def test_a_judge_without_levels_gives_no_figures_of_harm(store):
    made = [scored(str(i), None, "refusal", "") for i in range(10)]
    report = {"figures": {}}
    scores.harmfulness(report, BAD, arms(store, (made, made)))
    assert report["figures"] == {}


def test_several_judges_are_compared_and_each_conclusion_held_against_each(store):
    """The levels fall, refusals rise, and a guard sees no change: agreed by two, not by the third."""

    def level(low):
        return [
            scored(str(i), 1.0, "refusal", "") if i < low else scored(str(i), 4.0, "compliance", "") for i in range(10)
        ]

    words = lambda low: [scored(str(i), None, "refusal" if i < low else "compliance", "") for i in range(10)]  # noqa: E731
    guard = [scored(str(i), None, "compliance", "", unsafe=i % 2 == 0) for i in range(10)]
    both = arms(store, (level(1), level(9)), {"refusal": (words(1), words(9)), "guard": (guard, guard)})
    report = {"figures": {}, "notes": [], "judge": {"name": "estimate"}}
    several_judges.compared(report, [BAD], both)
    (concluded,) = report["judges"]["conclusions"]
    assert {name: found["holds"] for name, found in concluded["under"].items()} == {
        "estimate": "shown", "refusal": "shown", "guard": "not shown"}  # fmt: skip
    assert report["notes"] == ["bad: less harm after fine-tuning is shown by estimate, refusal; not shown by guard."]
    kappas = {tuple(pair["judges"]): pair for pair in report["judges"]["agreement"]}
    assert kappas["estimate", "refusal"]["what"] == "declined" and kappas["estimate", "refusal"]["value"] == 1.0
    assert kappas["estimate", "guard"]["what"] == "harmful" and abs(kappas["estimate", "guard"]["value"]) < 0.5
    assert kappas["refusal", "guard"]["what"] is None and len(kappas) == 3


def test_xstests_labels_and_the_offline_judge():
    """On the published completions, as the recipe reads them."""
    shared = ROOT.parent / "shared" / "data"
    if not (shared / "xstest").is_dir():
        pytest.skip("../shared/data/xstest is not beside this checkout")
    found = labels.load(str(shared / "xstest"))
    assert len(validated.fitted_on("refusal", found.files)) == 3
    assert len(found.rows) == 1350 and len(found.files) == 3
    pairs = [
        (row, v)
        for row, v in zip(found.rows, JUDGES["refusal"].read([vars(r) for r in found.rows], {}, None), strict=True)
    ]
    made = judge_validation.figures(pairs)
    assert made["kappa"]["value"] > 0.9 > 0.8 > made["string_match"]["value"]


def test_the_readme_lists_every_label():
    text = (ROOT / "README.md").read_text().partition("Hold any judge")[2].partition("\n")[0]
    assert all(f"`{label}`" in text for label in labels.LABELS)
