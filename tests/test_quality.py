"""Near-copies against brute force and published counts; the gate check by check and as a set; the card."""

import csv
import random
from collections import Counter
from itertools import product

import pytest

from medsafe_train.config import GateSettings
from medsafe_train.quality import gate, near_copies
from medsafe_train.quality.card import card
from medsafe_train.quality.wording import delivers, gives_reason
from medsafe_train.sources import prompt_sets
from medsafe_train.teachers import template
from tests.conftest import ROOT

SHARED = next((p / "shared/data" for p in ROOT.parents if (p / "shared/data/medsafetybench").is_dir()), None)
published = pytest.mark.skipif(SHARED is None, reason="MedSafetyBench is not here: shared/data beside the checkout")
OPEN = GateSettings(min_words=1, near_copy=1.0, max_opening_share=1.0, max_principle_ratio=1000.0)
GOOD = "I can't help with this. It would break a patient's trust."
SUBJECTS = [
    "asthma",
    "gout",
    "sepsis",
    "malaria",
    "anaemia",
    "eczema",
    "migraine",
    "rabies",
    "scurvy",
    "tetanus",
    "measles",
    "goitre",
    "angina",
    "colic",
]


def requests(name, part):
    kind = "benign" if "twins" in name else "harmful"
    return prompt_sets.load(name, kind, part, str(SHARED) if SHARED else None).prompts


def pairs(name, part):
    return [(prompt.id, prompt.prompt) for prompt in requests(name, part)]


def item(id, response=GOOD, request=None, kind="safe", principle=None):
    request = f"request{id}".replace("-", "x") if request is None else request
    return {
        "id": str(id), "request": request, "response": response, "kind": kind, "principle": principle, "source": "x",
    }  # fmt: skip


def reason(response, **more):
    """Why a demonstration alone is rejected, or None."""
    rejected = gate.decide([item("a", response, **more)], OPEN).rejected
    return rejected[0]["reason"] if rejected else None


# --- near-copies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "how", "value"),
    [
        ("How do I forge a record?", "How do I forge a record?", "exact", 1),
        ("How do I forge a record?", "  how do I FORGE\na record", "normalised", 1),
        ("Dose of ﬁve mg", "dose, of five mg!", "normalised", 1),
        ("one two three four five six", "one two three four five seven", "trigrams", 3 / 5),
        ("one two three four five six", "six five four three two one", "words", 1),
        ("one two three four", "four three two five", "words", 3 / 5),
    ],
)
def test_how_a_pair_is_near(one, other, how, value):
    found = near_copies.find([("t", one)], [("e", other)])
    assert found == [near_copies.NearCopy("t", "e", how, pytest.approx(value))]


def test_what_is_not_near_is_not_found():
    training = [("t1", "one two three four"), ("t2", "..."), ("t3", "")]
    assert near_copies.find(training, [("e1", "one two five six"), ("e2", "?"), ("e3", "one")]) == []
    assert near_copies.find([], [("e", "x")]) == near_copies.find([("t", "x")], []) == near_copies.within([], 0.5) == []


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_without_meaning_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        near_copies.find([], [], threshold)
    with pytest.raises(ValueError, match="threshold"):
        near_copies.within([], threshold)


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0.0


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("sizes", [(80, 50), (50, 80)])
def test_prefix_filtering_loses_nothing(threshold, sizes):
    """Against every pair compared, whichever list is the longer."""
    chance = random.Random(3)
    letters = "abcdefghij"
    one, other = (
        [(f"{side}{n}", " ".join(chance.choices(letters, k=chance.randint(1, 9)))) for n in range(size)]
        for side, size in zip("te", sizes, strict=True)
    )
    found = {(c.training, c.evaluation): c for c in near_copies.find(one, other, threshold)}
    expected = {}
    for t, x in one:
        for e, y in other:
            values = [jaccard(form(x), form(y)) for form in (near_copies.trigrams, near_copies.words)]
            if max(values) >= threshold:
                expected[t, e] = 1.0 if x == y else values[0] if values[0] >= threshold else values[1]
    assert {pair: copy.value for pair, copy in found.items()} == expected and len(expected) > 0


def test_within_keeps_the_first_and_what_is_dropped_drops_nothing():
    items = [
        ("a", "one two three four five six seven eight"),
        ("b", "one two three four five six seven nine"),  # near a
        ("c", "one two three four five six ten nine"),  # near b, which is gone, but not near a
        ("d", "ONE two three four five six seven eight!"),  # a again
    ]
    assert near_copies.within(items, 0.75) == [("a", "b", pytest.approx(7 / 9)), ("a", "d", 1.0)]
    assert [dropped for _, dropped, _ in near_copies.within(items, 0.6)] == ["b", "c", "d"]
    assert near_copies.within([("p", "?"), ("q", "?"), ("r", "!")], 0.9) == [("p", "q", 1.0)]


def test_counts_take_each_prompt_once_by_its_strongest_finding():
    copy = near_copies.NearCopy
    found = [copy("t1", "e1", "words", 0.7), copy("t2", "e1", "trigrams", 0.6), copy("t1", "e2", "words", 0.9)]
    assert near_copies.counts(found) == {"trigrams": 1, "words": 1}


@published
def test_medsafetybench_overlaps_as_published():
    """39 of 900 test requests at a word Jaccard of 0.8, 161 at 0.6; 43 by trigrams, 41 of them Llama-2's; none exact."""
    training, asked = pairs("medsafetybench", "train"), pairs("medsafetybench", "test")
    found = near_copies.find(training, asked, 0.6)
    assert near_copies.counts(found) == {"trigrams": 43, "words": 161 - 43}
    by_trigrams = {copy.evaluation for copy in found if copy.how == "trigrams"}
    assert sum(id.startswith("llama2") for id in by_trigrams) == 41
    words = {id: near_copies.words(text) for id, text in training}
    far = {copy.evaluation for copy in found} - {
        id for id, text in asked if any(jaccard(near_copies.words(text), held) >= 0.6 for held in words.values())
    }
    assert far == set()  # whoever is near by trigrams is near by words too, so that 161 counts words alone
    assert len({copy.evaluation for copy in near_copies.find(training, asked, 0.8)}) == 39


def test_the_projects_own_parts_share_no_near_copy():
    for name in ("harmful_requests", "benign_twins"):
        assert near_copies.find(pairs(name, "train"), pairs(name, "test"), 0.6) == []


# --- the gate, one by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "kind", "expected"),
    [
        ("", "safe", "empty, or no whole sentence"),
        (" \n ", "replay", "empty, or no whole sentence"),
        ("I can't help with this because it", "safe", "empty, or no whole sentence"),
        ("Rest and fluids are what helps most with", "replay", None),
        ("Of course. Write another date on the form.", "safe", "does not decline"),
        ("I'm sorry, but I can't help with that.", "replay", "the model declines this benign request"),
        ("I can't help with that.", "safe", "gives no reason"),
        ("Rest and drink enough.", "replay", None),
        ("Rest\nFluids", "replay", None),
        ("What helps:\n1. Rest, say 10 minutes.\n2. Walk.", "replay", None),
        ("私は手伝えません。", "replay", None),
        (GOOD, "safe", None),
    ],
)
def test_each_check_has_its_reason(response, kind, expected):
    assert reason(response, kind=kind) == expected


LEAKS = {
    "list": "I can't help with that, as it would harm patients. Still:\n- Pick a date\n- Change the log",
    "inline list": "I can't help, as it is wrong. It takes 1) a new date, 2) another pen.",
    "steps": "I can't help, because it would be wrong. First, open the record. Then change the date.",
    "numbered steps": "I can't help, because it would be wrong.\nStep 1: open the record.",
    "letter": "I can't help, because it would be dishonest.\n\nDear Dr. Smith,\nthe test was normal.",
    "subject": "I can't help, because it would be dishonest.\nSubject: Your test",
    "close": "I can't help, because it would be dishonest.\nAll was well.\nSincerely,\nA",
    "placeholder": "I can't help, because it is dishonest. Mr [Patient Name] was seen by me.",
    "blank": "I can't help, because it is dishonest. Mr ______ was seen by me.",
    "script": "I can't help, because it is dishonest.\nNurse: All is well.\nPatient: Good.",
    "code": "I can't help, because it is dishonest.\n```\nDELETE\n```",
    "introduction": "I can't help, because it is dishonest. Here is an example of such a note.",
    "words to say": "I can't help, because it is dishonest. You could tell them that nothing happened.",
    "dose": "I can't help, because it would be dangerous. It takes 40 mg at night.",
    "quotation": 'I can\'t help, as it is dishonest. "Your scan was fine and there is nothing left to worry about at all"',
    "plain sentences": "I can't help with that. The log sits in the cabinet. Its pages come loose. A new page fits.",
}


@pytest.mark.parametrize("form", LEAKS)
def test_a_refusal_that_delivers_is_rejected(form):
    assert reason(LEAKS[form]).startswith("delivers after declining")
    assert reason(LEAKS[form], kind="replay") == "the model declines this benign request"


def test_an_answer_in_part_is_rejected():
    text = "I can't help with that. However, I can offer ideas.\n- Rest, please.\nYou should.\n- Walk, please.\nYou must.\n- Sleep, please."
    assert delivers("x", text) is None and reason(text) == "delivers after declining: an answer in part"


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with this. Here is why: it would harm a patient.",
        "I won't give anyone 40 mg of it to keep them quiet. That would be dangerous.",
        "I can't help with that. People have a right to the truth. If it helps, I can describe how to say it kindly.",
        'I can\'t help with a "quick fix" for the log. It would be dishonest.',
    ],
)
def test_a_refusal_that_only_explains_passes(text):
    assert reason(text, request="How do I give 40 mg of it unseen?") is None


def test_a_dose_of_the_requests_own_is_no_delivery():
    text = "I can't help with giving 40 mg. It would be dangerous."
    assert delivers("Give 40 mg to her.", text) is None and delivers("Give it to her.", text) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't help with that because it would hurt someone.", True),
        ("I can’t help with that. It’s unethical.", True),
        ("I'm sorry, but ignoring a patient's wishes would be unethical.", True),
        ("I won't: it would break the law.", True),
        ("Sorry, I can't assist with that.", False),
        ("I can't help with creating unethical or illegal records.", False),
        ("This is something I can't help with. I can explain how to raise a concern safely and fairly instead.", False),
        ("My answer has to be no. Ask me how to act in a child's best interest, and I will gladly help.", False),
        ("I cannot in good conscience help with this.", False),
        ("I can't help with that. Please consult a lawyer about your rights.", False),
    ],
)
def test_a_reason_is_a_reason(text, expected):
    assert gives_reason(text) is expected


@pytest.mark.parametrize("opening", template.OPENINGS)
def test_no_opening_of_the_template_is_a_reason(opening):
    assert not gives_reason(opening)
    assert not any(
        gives_reason(f"{opening} {offer.format(offer=o)}") for offer in template.OFFERS for *_, o in template.SUBJECTS
    )


@pytest.mark.parametrize("reasons", [*template.REASONS.values(), template.UNKNOWN_REASONS])
def test_every_reason_of_the_template_is_a_reason(reasons):
    assert [text for text in reasons if not gives_reason(f"I can't do that. {text.format(subject='rest')}")] == []


@pytest.mark.parametrize("seed", [0, 1])
def test_the_gate_lets_the_template_through(seed):
    asked = requests("harmful_requests", "train")
    written = [template.refusal(prompt, seed) for prompt in asked]
    items = [item(p.id, text, p.prompt, principle=p.principle) for p, text in zip(asked, written, strict=True)]
    decision = gate.decide(items, GateSettings())
    assert decision.kept == items and decision.rejected == decision.warnings == []


def test_length_bounds():
    few, many = GateSettings(min_words=4, max_words=11), GateSettings(min_words=12, max_words=300)
    assert len(GOOD.split()) == 11
    assert gate.decide([item("a")], few).kept
    assert gate.decide([item("a")], many).rejected[0]["reason"] == "fewer than 12 words"
    assert gate.decide([item("a", GOOD + " Always.")], few).rejected[0]["reason"] == "more than 11 words"


def test_the_first_failing_check_is_the_reason():
    """Too short, without a reason, and a near-copy: the reason comes before the length, and that before the copy."""
    settings = GateSettings(min_words=12, near_copy=0.5)
    items = [item("a", request="x y"), item("b", "I can't help.", request="x y"), item("c", request="x y")]
    assert [i["reason"] for i in gate.decide(items, settings).rejected] == [
        "fewer than 12 words", "gives no reason", "fewer than 12 words",
    ]  # fmt: skip


def test_long_repetitions_are_read_in_passing_and_right():
    """Patterns that backtrack would not come back from these."""
    read = {
        "a" * 9000: None,
        "\n" * 9000: None,
        ". " * 9000: "plain sentences",
        "A: b\n" + "\n" * 9000: None,
        "- x\n" * 3000: "a list",
        "Dear " + "a" * 9000: None,
    }
    assert [delivers("x", f"I can't. {text}") for text in read] == list(read.values())


# --- the gate, the set ------------------------------------------------------------------------------------------------


def test_near_copies_go_within_their_kind_and_only_beside_kept_ones():
    same = "How do I change the date on a chart"
    items = [
        item("a", "I can't.", request=same),  # rejected by itself, so it takes nobody's place
        item("b", request=same),
        item("c", request=same + "?"),
        item("d", "Ask the archive.", request=same, kind="replay"),
    ]
    decision = gate.decide(items, GateSettings(max_opening_share=1.0, min_words=3))
    assert [i["id"] for i in decision.kept] == ["b", "d"]
    assert decision.rejected[1] == {**items[2], "reason": "near-copy of an earlier request"}


def opening_set(*sizes):
    """Safe responses in as many openings as sizes, each so many times."""
    words = [f"Sorry, {subject} is" for subject in SUBJECTS]
    return [
        item(f"{n}-{m}", f"{words[n]} not why. I can't help, because it would be wrong.")
        for n, size in enumerate(sizes)
        for m in range(size)
    ]


def shares(kept):
    counts = Counter(gate.opening(i["response"]) for i in kept if i["kind"] == "safe")
    return [n / sum(counts.values()) for n in counts.values()]


@pytest.mark.parametrize(
    ("sizes", "share", "left"),
    [
        ((10, 10, 10, 10, 10), 0.2, 50),
        ((40, 10, 10, 10, 10), 0.2, 50),
        ((100, 5, 5, 5, 5, 5, 5), 0.2, 37),
        ((30, 20, 10), 0.5, 60),
        ((30, 20, 10), 0.4, 50),
        ((9, 1, 1, 1, 1), 0.2, 5),
        ((7,), 1.0, 7),
    ],
)
def test_no_opening_above_its_share_of_what_is_left(sizes, share, left):
    """The bound holds for the safe responses that are kept, and no more go than have to."""
    items = [*opening_set(*sizes), item("r", "Rest and drink a lot.", kind="replay")]
    decision = gate.decide(items, GateSettings(max_opening_share=share, near_copy=1.0))
    assert max(shares(decision.kept)) <= share + 1e-9
    assert len(decision.kept) == left + 1
    assert {i["reason"] for i in decision.rejected} <= {"too many begin with the same three words"}


def test_the_largest_set_under_the_bound_is_found():
    """Against every choice of how many to keep of each opening."""
    chance = random.Random(5)
    for _ in range(60):
        sizes = [chance.randint(1, 6) for _ in range(chance.randint(1, 4))]
        share = chance.choice([0.25, 0.3, 0.5, 0.7])
        best = max(
            sum(kept) for kept in product(*(range(n + 1) for n in sizes)) if max(kept) <= share * sum(kept) + 1e-9
        )
        limit = gate._largest_group(Counter({str(n): size for n, size in enumerate(sizes)}), share)
        assert (0 if limit is None else sum(min(size, limit) for size in sizes)) == best, (sizes, share)


@pytest.mark.parametrize("sizes", [(8,), (50, 50), (5, 5, 5, 5)])
def test_a_bound_that_cannot_be_met_warns_and_rejects_nothing(sizes):
    decision = gate.decide(opening_set(*sizes), GateSettings(near_copy=1.0))
    assert len(decision.kept) == sum(sizes) and decision.rejected == []
    assert len(decision.warnings) == 1 and "max_opening_share" in decision.warnings[0]


def test_a_bound_that_costs_more_than_half_warns():
    decision = gate.decide(opening_set(100, 5, 5, 5, 5, 5, 5), GateSettings(near_copy=1.0))
    assert len(decision.warnings) == 1 and "rejected 93 of 130" in decision.warnings[0]


def test_principles_are_balanced_and_those_without_one_left_alone():
    items = [item(f"{p}-{n}", kind="replay", response="Rest well.", principle=p) for p, size in ((1, 9), (2, 3), (3, 7), (None, 50)) for n in range(size)]  # fmt: skip
    decision = gate.decide(items, GateSettings(min_words=1, near_copy=1.0, max_principle_ratio=2.0))
    assert Counter(i["principle"] for i in decision.kept) == {1: 6, 2: 3, 3: 6, None: 50}
    assert {i["reason"] for i in decision.rejected} == {"too many of this principle"}


def test_both_bounds_hold_at_the_end():
    """Openings that are even only with the principle of which some must go: both have to be looked at again."""
    items = [
        item(f"{p}-{n}-{m}", f"Sorry, {SUBJECTS[n]} is not why. I can't help, because it would be wrong.", principle=p)
        for p, openings, times in ((1, range(0, 7), 6), (2, range(5, 12), 1))
        for n in openings
        for m in range(times)
    ]
    settings = GateSettings(near_copy=1.0, max_opening_share=0.2, max_principle_ratio=2.0)
    kept = gate.decide(items, settings).kept
    number = Counter(i["principle"] for i in kept)
    assert max(shares(kept)) <= 0.2 + 1e-9 and number[1] <= 2 * number[2] and len(kept) > 10


def test_surplus_goes_by_the_hash_of_the_id_whatever_the_order():
    items = opening_set(40, 10, 10, 10, 10)
    settings = GateSettings(near_copy=1.0)
    first = gate.decide(items, settings)
    turned = gate.decide(items[::-1], settings)
    assert first == gate.decide(items, settings)
    assert first.kept == turned.kept[::-1] and first.rejected == turned.rejected[::-1]
    assert [i["id"] for i in first.kept[:10]] != [i["id"] for i in items[:10]]  # not simply the first ones


def test_nothing_in_nothing_out():
    assert gate.decide([], GateSettings()) == gate.Decision([], [], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("I’m sorry, but no.", "im sorry but"), ("No!", "no"), ("  I -- can_not help", "i cannot help")],
)
def test_opening(text, expected):
    assert gate.opening(text) == expected


@published
def test_the_papers_own_safe_responses():
    """Let through where any opening may come as often as it likes; 4 of 900 give no reason; else a warning."""
    answers = {}
    for file in sorted((SHARED / "medsafetybench/train").glob("*/*.csv")):
        with file.open(encoding="utf-8") as rows:
            answers.update((row["harmful_medical_request"], row["safe_response"]) for row in csv.DictReader(rows))
    items = [
        item(p.id, answers[p.prompt], p.prompt, principle=p.principle) for p in requests("medsafetybench", "train")
    ]
    freely = gate.decide(items, GateSettings(max_opening_share=1.0))
    assert Counter(i["reason"] for i in freely.rejected) == {
        "near-copy of an earlier request": 21,
        "gives no reason": 4,
    }
    assert freely.warnings == []
    strictly = gate.decide(items, GateSettings())
    assert strictly.kept == freely.kept and "'im sorry but'" in strictly.warnings[0]


@published
def test_deliveries_are_found_among_answers_that_people_rated():
    """XSTest (arXiv 2308.01263): a declining sentence before answers that comply, and refusals as they came."""
    rows = [
        row for file in sorted((SHARED / "xstest").glob("*completions*.csv")) for row in csv.DictReader(file.open())
    ]
    complying = [r for r in rows if r["final_label"] == "1_full_compliance"]
    refusing = [r for r in rows if r["final_label"] == "2_full_refusal"]
    found = sum(bool(delivers(r["prompt"], "I can't help with that. " + r["completion"])) for r in complying)
    wrong = sum(bool(delivers(r["prompt"], r["completion"])) for r in refusing)
    assert found >= 0.6 * len(complying) > 300 and wrong <= 0.06 * len(refusing)


# --- the card ---------------------------------------------------------------------------------------------------------


def a_card():
    safe = [
        item(f"s{n}", f"Sorry, {s} is why I can't help. It is wrong.", principle=n % 9 + 1)
        for n, s in enumerate(SUBJECTS)
    ]
    replay = [item(f"r{n}", "Rest. " * (n + 1), kind="replay") for n in range(9)]
    hostile = item("evil|id", "1. <script>x</script> [a](http://b.example)\n\n# head `c` | d", "<img src=x>", "replay")
    rejected = [{**item("z"), "reason": "gives no reason"}, {**item("y"), "reason": "gives no reason"}]
    counts = {"medsafetybench": {"trigrams": 43, "words": 118}, "other": {}}
    return safe, card([*safe, *replay, hostile], rejected, counts, {"teacher": "template", "model": "a`b"})


def test_the_card_tells_what_is_in_it():
    _, page = a_card()
    for said in (
        "24 demonstrations are trained on, 2 were rejected",
        "- teacher: template",
        "- model: a\\`b",
        "| kind | safe | 14 |",
        "| kind | replay | 10 |",
        "| principle | none | 10 |",
        "| principle | 1 · competent, compassionate care | 2 |",
        "| gives no reason | safe | 2 |",
        "| sorry angina is … | 1 | 7.1% |",
        "| safe | 10 | 10 | 10 |",
        "| medsafetybench | 0 | 0 | 43 | 118 |",
        "| other | 0 | 0 | 0 | 0 |",
        "## 10 samples",
    ):
        assert said in page, said
    assert page.count("| sorry ") == 10 and page.count("> Response:") == 10 and page.count("**safe**") == 5
    assert page == a_card()[1]


def test_the_card_is_inert():
    hostile = item("evil|id", "1. <script>x</script> [a](http://b.example)\n\n# head `c` | d", "<img src=x>", "re|play")
    page = card([hostile], [{**hostile, "reason": "a | <b>"}], {"<i>|": {}}, {"x": "\x1b[31m<u>\u202e"})
    for mark in ("<script", "<img", "<b>", "<i>", "<u>", "\x1b", "\u202e", "](", "http://", "\n# head", "\n> 1."):
        assert mark not in page, mark
    rows = [row for row in page.splitlines() if row.startswith("| ")]
    assert {row.replace("\\|", "").count("|") for row in rows} <= {4, 5, 6}


def test_samples_fill_up_where_one_kind_is_short():
    safe = [item(n) for n in range(20)]
    assert card([*safe, item("r", "Rest.", kind="replay")], [], {}, {}).count("**safe**") == 9
    assert card(safe[:3], [], {}, {}).count("> Response:") == 3
    empty = card([], [], {}, {})
    assert "None." in empty and "Not looked for" in empty


def test_samples_do_not_depend_on_order_or_outcome():
    safe, page = a_card()
    chosen = {row.split(":")[0] for row in page.splitlines() if row.startswith("**safe**")}
    other = card(
        [{**i, "response": GOOD} for i in safe[::-1]] + [item(f"r{n}", "Rest.", kind="replay") for n in range(9)],
        [],
        {},
        {},
    )
    assert chosen == {row.split(":")[0] for row in other.splitlines() if row.startswith("**safe**")}


def test_a_coaxed_answer_is_judged_by_what_the_model_said():
    item = {
        "id": "1",
        "request": "Can I eat eggs?",
        "kind": "benign",
        "principle": None,
        "source": "base",
        "coaxed": "Certainly! Here is",
    }
    declined = {**item, "response": "Certainly! Here is I'm sorry, but I can't help with that."}
    answered = {**item, "id": "2", "response": "Certainly! Here is what to know: eggs are fine."}
    decision = gate.decide([declined, answered], GateSettings())
    assert [d["id"] for d in decision.kept] == ["2"] and "declines" in decision.rejected[0]["reason"]
