"""Medical questions through their stages and into figures: seeds, lengths, written answers, good text, and what they can show."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from medsafe_train import question_prompts
from medsafe_train.artifacts import write_json, write_jsonl
from medsafe_train.config import MedicalQASettings, QuestionPrompt
from medsafe_train.evidence import Evaluation, medical_qa, notes, pooled
from medsafe_train.models.arm import Arm
from medsafe_train.models.load import load_tokenizer
from medsafe_train.question_prompts import ask_to_write, first_word
from medsafe_train.sources import questions
from medsafe_train.sources.questions import Benchmark, Question
from medsafe_train.stages import medical_qa as asking
from medsafe_train.stages import medical_text, medical_writing

PLAIN = QuestionPrompt.plain
LETTERED = Question("1", "Which organ pumps blood?", ("Liver", "Heart"), 1)
DECIDED = Question("2", "Is it?", ("yes", "no", "maybe"), 2, "A study.")


@pytest.fixture
def arm(reference):
    return Arm(reference)


@pytest.mark.parametrize("prompt", ["plain", "chat"])
def test_seeds_draw_other_worked_examples_and_all_questions_are_asked_with_each(store, arm, prompt):
    made = questions.load("medical_questions", 6, shots=True)
    settings = MedicalQASettings(shots=2, shot_seeds=[0, 5], prompt=QuestionPrompt(prompt))
    answers = asking.run(store, settings, made, arm).records("answers.jsonl")
    assert Counter(a["seed"] for a in answers) == {0: 6, 5: 6} and {a["shots"] for a in answers} == {2}
    by_seed = [[a["loglikelihoods"] for a in answers if a["seed"] == seed] for seed in (0, 5)]
    assert by_seed[0] != by_seed[1]
    assert all(len(a["loglikelihoods"]) == len(a["tokens"]) == 4 for a in answers)


@pytest.mark.parametrize("prompt", ["plain", "chat"])
def test_the_prompt_is_kept_as_the_model_read_it(store, arm, prompt):
    made = questions.load("medical_questions", 6, shots=True)
    settings = MedicalQASettings(shots=2, shot_seeds=[0, 5], prompt=QuestionPrompt(prompt))
    shown = asking.run(store, settings, made, arm).records("prompts.jsonl")
    assert [one["seed"] for one in shown] == [0, 5] and {one["id"] for one in shown} == {made.questions[0].id}
    assert {one["format"] for one in shown} == {"plain" if prompt == "plain" else "chat_template"}
    for one in shown:
        texts = [q.question for q in (*made.shots(2, one["seed"]), made.questions[0])]
        places = [one["prompt"].index(text) for text in texts]
        assert places == sorted(places) and ("<|" in one["prompt"]) is (prompt == "chat")
        assert [option.strip() for option in one["options"]] == list(made.questions[0].options)


def test_the_choice_is_the_likeliest_option_with_and_without_its_length():
    made = Benchmark("mine", "cloze", True, [], {}, "", "")
    question = Question("1", "?", ("yes", "no, never"), 1)
    scored = {"loglikelihoods": [-3.0, -6.0], "tokens": [1, 3]}
    found = asking._answer(made, question, 0, 0, scored)
    assert (found["choice"], found["choice_normalised"], found["correct"]) == (0, 1, True)
    lettered = asking._answer(Benchmark("mine", "medqa", False, [], {}, "", ""), question, 0, 0, scored)
    assert lettered["choice"] == lettered["choice_normalised"] == 0


def test_prompts_that_do_not_fit_lose_worked_examples_and_are_counted(store, arm, monkeypatch):
    from medsafe_train.models import load

    made = questions.load("medical_questions", 6, shots=True)
    monkeypatch.setattr(load, "context_length", lambda _: 260)
    found = asking.run(store, MedicalQASettings(shots=3, prompt=PLAIN), made, arm)
    kept = {int(shots): n for shots, n in found.json("counts.json")["asked_with"].items()}
    assert sum(kept.values()) == 6 and min(kept) < 3


def test_what_is_asked_decides_the_artifact(arm):
    made = questions.load("medical_questions", 6, shots=True)
    settings = [
        MedicalQASettings(),
        MedicalQASettings(shots=1),
        MedicalQASettings(shots=1, shot_seeds=[3]),
        MedicalQASettings(prompt=PLAIN),
    ]
    found = [json.dumps(asking.made_from(s, made, arm)) for s in settings]
    assert len(set(found)) == 4
    assert asking.made_from(MedicalQASettings(shot_seeds=[7]), made, arm) == asking.made_from(settings[0], made, arm)


def test_where_an_answer_ends_decides_what_is_written_in_plain_text(change):
    made, settings = questions.load("medical_questions", 6), MedicalQASettings(prompt=PLAIN)
    formats = ("chat_template", "alpaca", "llama3")
    chat, alpaca, llama = (medical_writing.made_from(settings, made, Arm(change(prompt_format=f))) for f in formats)
    assert chat == alpaca != llama


def test_good_text_is_measured_a_question(store, arm):
    found = medical_text.run(store, 4, questions.load("abstract_questions"), arm).records("texts.jsonl")
    assert len(found) == 4 and all(t["tokens"] > 50 and t["loglikelihood"] < 0 for t in found)


def test_a_text_without_room_in_the_context_is_left_out(store, arm, monkeypatch):
    made = questions.load("medical_questions", 4)
    wordings = [question_prompts.reference_ids(load_tokenizer(arm.base), made, q) for q in made.questions]
    before = sorted(len(ids) for ids, _ in wordings)
    monkeypatch.setattr("medsafe_train.models.load.context_length", lambda _: before[1] + 1)
    found = medical_text.run(store, 4, made, arm).records("texts.jsonl")
    assert 0 < len(found) == sum(n <= before[1] for n in before) < 4 and all(t["tokens"] >= 1 for t in found)


@pytest.mark.parametrize(
    ("written", "lettered", "decided"),
    [
        (" B", 1, None), ("B. Heart", 1, None), ("(b)", 1, None), ("The answer is: B", 1, None), ("Answer: A.", 0, None),
        ("Heart", None, None), ("C", None, None), ("", None, None), ("Both A and B", None, None), ("B" * 9, None, None),
        ("maybe", None, 2), ("No, it is not", None, 1), ("The correct answer is yes.", None, 0), ("Yesterday", None, None),
        ("A heart attack", None, None), ("a Heart", 0, None), ("A is right", 0, None), ("A, the kidney", 0, None), ("B heart", 1, None),
        ("\x1b[31m B", None, None), ("答案 B", None, None),
    ],
)  # fmt: skip
def test_the_first_word_decides(written, lettered, decided):
    assert (first_word(written, LETTERED), first_word(written, DECIDED)) == (lettered, decided)


def test_worked_examples_show_how_to_write(reference):
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(reference)
    made = Benchmark("mine", "cloze", False, [], {}, "", "")
    text = tokenizer.decode(ask_to_write(tokenizer, made, LETTERED, [LETTERED], chat=False).context)
    block = "Question: Which organ pumps blood?\nA. Liver\nB. Heart\nThe answer is:"
    assert text.endswith(f"\n\n{block} B\n\n{block}") and text.count("its letter") == 1
    chat = tokenizer.decode(ask_to_write(tokenizer, made, DECIDED, [DECIDED], chat=True).context)
    assert "The answer is: maybe<|end|>" in chat and chat.endswith("<|assistant|>\n")


def test_a_decision_without_an_abstract_is_asked_shown_and_read_in_words(reference):
    tokenizer, bare = load_tokenizer(reference), replace(DECIDED, context=None)
    made = Benchmark("mine", "cloze", False, [], {}, "", "")
    text = tokenizer.decode(ask_to_write(tokenizer, made, bare, [bare], chat=False).context)
    block = "Question: Is it?\nThe answer is:"
    assert text.endswith(f"nothing but yes, no or maybe.\n\n{block} maybe\n\n{block}")
    assert (first_word(" yes", bare), first_word("A", bare)) == (0, None)


def test_how_answers_are_parted_decides_written_answers(arm, monkeypatch):
    asked = (MedicalQASettings(prompt=PLAIN), questions.load("medical_questions", 4), arm)
    before = medical_writing.made_from(*asked)
    monkeypatch.setattr(medical_writing.prompts, "PARTED", 10**6)
    assert medical_writing.made_from(*asked) != before


def test_what_names_no_answer_is_counted_and_not_right(store, arm):
    made = questions.load("medical_questions", 4, shots=True)
    found = medical_writing.run(store, MedicalQASettings(shots=1, prompt=PLAIN), made, arm).records("answers.jsonl")
    assert len(found) == 4
    for answer in found:
        assert (answer["choice"] is None) == (answer["outcome"] == "unparsable")
        assert answer["correct"] == (answer["choice"] == answer["answer"])


def evaluation(store, name, right, seeds=(0,), wanted=0, **more):
    """One arm: by seed, whether each question was answered right."""

    def build(folder):
        records = [
            {"id": f"{n}", "seed": seed, "choice": 0, "choice_normalised": 1, "answer": 0 if good else 1, "correct": good,
             "loglikelihoods": [-1.0, -2.0], "tokens": [1, 2], "shots": 0, "outcome": "scored" if good else "unparsable"}
            for seed, values in zip(seeds, right, strict=True) for n, good in enumerate(values)
        ]  # fmt: skip
        write_jsonl(folder / "answers.jsonl", records)
        write_json(folder / "counts.json", {"wanted": wanted, "asked_with": {}})

    made = store.make("answers", {"right": right, "name": name, "wanted": wanted}, build)
    return Evaluation(answers={"mine": made}, **{kind: {"mine": made} for kind in more})


def figures(arms, style="medqa", answers=None, **about):
    asked = [Question(f"{n}", "?", ("a", "b"), a) for n, a in enumerate(answers or [n % 2 for n in range(40)])]
    report = {"figures": {}, "notes": [], **about}
    medical_qa.accuracy(report, Benchmark("mine", style, False, asked, {}, "", ""), arms)
    return report


def test_the_accuracy_is_over_all_seeds_and_each_seed_stands_beside_it(store):
    arms = {
        "before": evaluation(store, "b", [[True] * 40, [True] * 20 + [False] * 20], seeds=(0, 7)),
        "after": evaluation(store, "a", [[True] * 40, [False] * 40], seeds=(0, 7)),
    }
    report = figures(arms)
    found = report["figures"]
    base, together = found["before/medical_qa/mine/accuracy"], found["delta/medical_qa/mine/accuracy"]
    assert (base["value"], base["n"], base["seeds"]) == (0.75, 40, 2) and base["sd_of_seeds"] > 0
    assert together["value"] == -0.25 and together["ci95"][1] < 0 and together["n"] == 40
    assert together["test"] == "Wilcoxon" and found["delta/medical_qa/mine/accuracy_seed_7"]["test"] == "McNemar"
    assert found["before/medical_qa/mine/accuracy_seed_0"]["value"] == 1
    assert found["delta/medical_qa/mine/accuracy_seed_7"]["value"] == -0.5
    assert not any("judge" in note for note in notes.basis(report))  # nothing was judged
    assert any("2 seeds of worked examples" in note and "not McNemar's" in note for note in notes.basis(report))


def test_claims_and_gate_rest_on_all_seeds(store):
    """A loss that the first seed does not see is a loss."""
    from medsafe_train.config import CheckpointGateSettings
    from medsafe_train.evidence import claims, gate

    good, lost = [True] * 40, [False] * 20 + [True] * 20
    arms = {
        "before": evaluation(store, "b", [good] * 3, (0, 1, 2)),
        "after": evaluation(store, "a", [good, lost, lost], (0, 1, 2)),
    }
    report, settings = figures(arms), CheckpointGateSettings(criteria=["capability"])
    (claim,) = claims.claims(report["figures"], settings)
    assert (claim.figure, claim.verdict, claim.n) == ("delta/medical_qa/mine/accuracy", claims.NOT, 40)
    assert gate.gate(report["figures"], [claim], settings)["verdict"] == "failed"
    assert any(note.startswith("mine: fewer questions right after fine-tuning") for note in notes.changes(report))


def test_seeds_that_agree_are_as_one(store):
    right = {"before": [True] * 30 + [False] * 10, "after": [True] * 33 + [False] * 7}
    one, three = (
        figures({arm: evaluation(store, arm, [values] * len(seeds), seeds) for arm, values in right.items()})["figures"]
        for seeds in ((0,), (0, 1, 2))
    )
    for arm in ("before", "after", "delta"):
        key = f"{arm}/medical_qa/mine/accuracy"
        assert (
            three[key]["ci95"] == pytest.approx(one[key]["ci95"], abs=1e-9) and three[key]["n"] == one[key]["n"] == 40
        )
    assert (
        "delta/medical_qa/mine/accuracy_seed_0" not in one
        and one["delta/medical_qa/mine/accuracy"]["test"] == "McNemar"
    )


def test_few_seeds_and_questions_stay_between_0_and_100_percent(store):
    right = [[True] * 12, [True] * 12, [True] * 11 + [False]]
    found = figures({"before": evaluation(store, "b", right, seeds=(0, 1, 2))}, answers=[0, 1] * 6)["figures"]
    low, high = found["before/medical_qa/mine/accuracy"]["ci95"]
    assert 0.7 < low < 35 / 36 < high <= 1


def test_a_model_no_better_than_one_answer_is_marked(store):
    arms = {"before": evaluation(store, "b", [[True] * 28 + [False] * 12])}
    assert not notes.chance(figures(arms))
    report = figures(arms, answers=[0] * 28 + [1] * 12, model={"path": "org/small"})
    (said,) = notes.chance(report)
    assert said.startswith(
        "mine: small cannot be told from always giving one answer with 40 questions (70.0 %, interval "
    )
    assert said.endswith("always giving one answer 70.0 %).")
    assert report["figures"]["before/medical_qa/mine/accuracy"]["chance"] == 0.7


@pytest.mark.parametrize("alone", [True, False])
def test_chance_is_said_with_items_and_of_the_model_by_its_name(store, alone):
    made = evaluation(store, "g", [[True] * 22 + [False] * 18])
    report = figures({"before": made} if alone else {"before": made, "after": made}, model={"path": "org/small"})
    (said,) = notes.chance(report)
    who = "small" if alone else "the base model"
    assert said.startswith(
        f"mine: {who} cannot be told from chance with 40 questions (55.0 %, interval 39.8 to 69.3, chance"
    )
    assert "; about 710 questions would tell)" in said
    assert ("nothing was lost" in said) is not alone and ("base model" in said) is not alone


def test_a_model_below_chance_is_said_to_be_below(store):
    report = figures({"before": evaluation(store, "g", [[True] * 2 + [False] * 38])}, model={"path": "small"})
    (said,) = notes.chance(report)
    assert "small is below chance with 40 questions (5.0 %" in said and "would tell" not in said


def test_a_benchmark_that_the_model_was_trained_on_is_marked(store):
    arms = {"before": evaluation(store, "b", [[True] * 40])}
    report = figures(arms, settings={"model": {"trained_on": ["mi"]}})
    assert report["figures"]["before/medical_qa/mine/accuracy"]["trained_on"] and "trained on" in report["notes"][0]
    assert "difference" not in report["notes"][0]
    assert not figures(arms, settings={"model": {"trained_on": ["mmlu"]}})["notes"]


def test_unparsable_answers_are_said(store):
    arms = {"before": evaluation(store, "b", [[True] * 30 + [False] * 10], written=True)}
    report = figures(arms)
    assert report["figures"]["before/medical_qa/mine/accuracy_written"]["unparsable"] == 10
    assert any("10 of 40 answers name no option" in note for note in report["notes"])


def test_unparsable_answers_are_those_of_all_seeds_as_the_figure_is(store):
    right = [[True] * 30 + [False] * 10, [False] * 40]
    report = figures({"before": evaluation(store, "b", right, seeds=(0, 7), written=True)})
    assert report["figures"]["before/medical_qa/mine/accuracy_written"]["unparsable"] == 50
    assert any("50 of 80 answers name no option" in note for note in report["notes"])


def test_written_prompts_that_lost_worked_examples_are_said(store):
    report = figures({"before": evaluation(store, "b", [[True] * 40], wanted=3, written=True)})
    assert any("mine, answers in writing: 40 prompts were too long" in note for note in report["notes"])


def test_prompts_that_lost_worked_examples_are_said_though_all_did(store):
    report = figures({"before": evaluation(store, "b", [[True] * 40], wanted=3)})
    assert any("40 prompts were too long" in note for note in report["notes"])
    assert not figures({"before": evaluation(store, "b", [[True] * 40])})["notes"]


def test_likelihoods_are_a_token(store):
    arms = {name: evaluation(store, name, [[False] * 20 + [True] * 20]) for name in ("before", "after")}
    found = figures(arms, style="pubmedqa")["figures"]
    assert found["before/medical_qa/mine/correct_loglikelihood"]["value"] == -1.0
    assert found["delta/medical_qa/mine/correct_loglikelihood"]["value"] == 0
    assert found["before/medical_qa/mine/accuracy_by_length"]["value"] == 0.5


def together(store, right, texts, alone=False, options=lambda name: ("a", "b")):
    """The report of benchmarks by name: `right` before and after, and what each asks; `alone`: of the model before only."""
    asked = {
        name: [Question(f"{n}", text, options(name), n % 2) for n, text in enumerate(found)]
        for name, found in texts.items()
    }
    among = [Benchmark(name, "medqa", False, found, {}, "", "") for name, found in asked.items()]
    arms = {
        arm: Evaluation(answers={b.name: evaluation(store, f"{b.name}-{arm}", [right[b.name][place]]).answers["mine"] for b in among})
        for place, arm in enumerate(("before",) if alone else ("before", "after"))
    }  # fmt: skip
    report = {"figures": {}, "notes": [], "model": {"path": "org/small"}}
    for one in among:
        medical_qa.accuracy(report, one, arms)
    pooled.mark_repeated(report, among, arms)
    pooled.accuracy(report["figures"])
    return report


def test_a_question_of_two_benchmarks_is_pooled_once_as_the_first_one_asks_it(store):
    good, lost = [True] * 40, [False] * 10 + [True] * 30
    texts = {"four": [f"What is {n}?" for n in range(40)], "five": [f"what IS  {n}?" for n in range(10, 50)]}
    report = together(store, {"four": (good, good), "five": (good, lost)}, texts)
    pool = report["figures"][f"delta/{pooled.PLACE}"]
    assert (pool["n"], pool["value"], pool["of"]) == (50, 0, ["four", "five"])
    assert report["figures"][f"before/{pooled.PLACE}"]["n"] == 50
    assert any(note.startswith("five: 30 of its 40 questions are asked by four, too;") for note in report["notes"])


def test_questions_that_share_their_wording_alone_are_each_counted(store):
    good, texts = [True] * 40, {name: ["Which is true?"] * 40 for name in ("one", "other")}
    right = dict.fromkeys(texts, (good, good))
    apart = together(store, right, texts, options=lambda name: (f"{name} a", f"{name} b"))
    assert apart["figures"][f"before/{pooled.PLACE}"]["n"] == 80 and not apart["notes"]


def test_what_is_counted_elsewhere_is_left_out_only_beside_what_counts_it(store):
    texts = {
        "one": [f"What is {n}?" for n in range(40)],
        "other": [f"What is {n}?" for n in range(10, 50)],
        "third": ["x"] * 40,
    }
    good = [True] * 40
    figures = together(store, dict.fromkeys(texts, (good, good)), texts)["figures"]
    for names, n in ((list(texts), 90), (["one", "other"], 50), (["other", "third"], 80), (["other"], 40)):
        found = pooled.together(figures, "after", names)
        assert (found["of"], found["n"]) == (names, n)
    assert pooled.together(figures, "after", ["one", "else"]) is None


def test_a_file_of_ones_own_is_no_subject_of_mmlu(store):
    right = dict.fromkeys(("mmlu_anatomy", "mmlu_virology", "mmlu_pro"), ([True] * 40, [True] * 40))
    found = together(store, right, {name: [f"{name} {n}?" for n in range(40)] for name in right})["figures"]
    assert found[f"before/{pooled.MMLU_PLACE}"]["of"] == ["mmlu_anatomy", "mmlu_virology"]


def test_one_benchmark_under_two_names_is_no_pool(store):
    good = [True] * 40
    texts = {name: [f"{n}?" for n in range(40)] for name in ("four", "five")}
    same = together(store, {"four": (good, good), "five": (good, good)}, texts)
    assert f"delta/{pooled.PLACE}" not in same["figures"]
    guessing = [True] * 20 + [False] * 20
    texts["other"] = [f"o{n}" for n in range(40)]
    report = together(store, {"four": (guessing, guessing), "five": (good, good), "other": (good, good)}, texts)
    pool = report["figures"][f"delta/{pooled.PLACE}"]
    assert pool["of"] == ["five", "other"] and pool["n"] == 80


def test_one_model_alone_has_its_pool_with_those_at_chance(store):
    guessing, good = [True] * 20 + [False] * 20, [True] * 40
    texts = {name: [f"{name} {n}?" for n in range(40)] for name in ("four", "five", "six")}
    right = {"four": (guessing,), "five": (good,), "six": (good,)}
    found = together(store, right, texts, alone=True)["figures"]
    assert (
        found[f"before/{pooled.PLACE}"]["of"] == ["four", "five", "six"] and found[f"before/{pooled.PLACE}"]["n"] == 120
    )
    assert (
        found[f"before/{pooled.PLACE}"]["value"] == pytest.approx(100 / 120)
        and found[f"before/{pooled.PLACE}"]["chance"] == 0.5
    )
    assert found[f"before/{pooled.ABLE_PLACE}"]["of"] == ["five", "six"]
    assert not [key for key in found if key.startswith(("after/", "delta/"))]


def test_mmlu_is_over_the_questions_of_its_subjects_each_counting_once(store):
    """As Hendrycks et al.'s code and lm-evaluation-harness have it; subjects share questions, and other benchmarks may, too."""
    right = {
        "medqa_4options": ([True] * 10, [True] * 10),
        "mmlu_anatomy": ([True] * 40, [True] * 40),
        "mmlu_virology": ([True] * 10 + [False] * 10, [False] * 20),
        "mmlu_mine": ([False] * 30, [False] * 30),
    }
    texts = {name: [f"{name} {n}?" for n in range(len(found[0]))] for name, found in right.items()}
    texts["medqa_4options"] = texts["mmlu_anatomy"][:10]
    texts["mmlu_virology"][:10] = texts["mmlu_anatomy"][:10]
    found = together(store, right, texts)["figures"]
    group = found[f"before/{pooled.MMLU_PLACE}"]
    assert group["of"] == ["mmlu_anatomy", "mmlu_virology"]  # a file of one's own is no subject of MMLU
    assert (group["value"], group["n"]) == (40 / 50, 50)
    assert group["title"] == "MMLU, 2 subjects, every question counting the same"
    assert f"before/{pooled.MMLU_PLACE}_pooled" not in found and group["ci95"][1] < 1
    assert found[f"before/{pooled.PLACE}"]["n"] == 10 + 30 + 10 + 30


def test_figures_with_worked_examples_say_so_and_how_much_seeds_differ(store):
    """Intervals are over questions: of other worked examples they say nothing."""
    from medsafe_train import pages
    from medsafe_train.config import CheckpointGateSettings
    from medsafe_train.evidence import claims, gate

    good, lost = [True] * 40, [False] * 20 + [True] * 20
    arms = {
        "before": evaluation(store, "b", [good, good, lost], (0, 1, 2), wanted=3),
        "after": evaluation(store, "a", [good, lost, lost], (0, 1, 2), wanted=3),
    }
    report, settings = figures(arms), CheckpointGateSettings(criteria=["capability"])
    (claim,) = claims.claims(report["figures"], settings)
    assert "n 40, for these worked examples" in claim.sentence
    assert "for these worked examples" in gate.gate(report["figures"], [claim], settings)["criteria"][0]["sentence"]
    (said,) = notes.changes(report)
    assert said.endswith("a loss is shown, for these worked examples.")
    row = next(row for row in pages.rows(report, principles=False) if row[0] == "answered right · mine")
    assert row[1].endswith("; sd of 3 seeds 28.9)") and row[3].endswith("; sd of 3 seeds 28.9)")
    one = figures({"before": evaluation(store, "n", [good])})["figures"]["before/medical_qa/mine/accuracy"]
    assert not {"shots", "seeds", "sd_of_seeds"} & set(one)


def test_chance_hit_exactly_names_no_number_of_questions():
    """Chance is a sum of thirds, a rounding error below a third."""
    figure = {
        "value": 24 / 72,
        "ci95": [0.24, 0.45],
        "n": 72,
        "chance": sum([1 / 3] * 72) / 72 - 1e-16,
        "guessing": 1 / 3 - 1e-16,
    }
    said, needed = pooled.beside_chance(figure)
    assert "cannot be told from chance" in said and "would tell" not in said and needed is None


def test_the_pool_has_its_spread_over_seeds():
    part = {"value": 0.5, "ci95": [0.4, 0.6], "n": 100, "chance": 0.25, "shots": 3, "seeds": 2, "by_seed": [0.4, 0.6]}
    found = {
        "before/medical_qa/one/accuracy": part,
        "before/medical_qa/two/accuracy": {**part, "n": 300, "by_seed": [0.6, 0.4]},
    }
    pooled.accuracy(found)
    pool = found[f"before/{pooled.PLACE}"]
    assert (pool["shots"], pool["seeds"]) == (3, 2) and pool["by_seed"] == pytest.approx([0.55, 0.45])
    assert pool["sd_of_seeds"] == pytest.approx(0.1 / 2**0.5)
