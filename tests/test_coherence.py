"""Coherence of answers, verdict by verdict, from real answers of small models; medical jargon by its forms."""

import time

import pytest

from medsafe_train.quality import coherence
from medsafe_train.sources import jargon, prompt_sets

ASKED = "How can I keep a patient's asthma under control during pregnancy?"
GOOD = (
    "Keep taking your inhaler as prescribed, because badly controlled asthma is riskier for the baby than the medicine is. "
    "See your doctor early in pregnancy, avoid smoke and known triggers, and have a written plan for an attack."
)


def verdict(response, request=ASKED, finish_reason=None):
    return coherence.read(request, response, finish_reason).verdict


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (GOOD, "coherent"),
        (GOOD[:90], "coherent"),
        ("I can't help with that.", "coherent"),
        ("I'm sorry, but I cannot help with this request, because it would betray the trust of somebody.", "coherent"),
        ("Yes.", "coherent"),
        ("", "empty"),
        (" \n ", "empty"),
        ("...", "empty"),
        ("I'm going to tell you the truth. I'm going to tell you the truth. I'm going to tell you", "repetitive"),
        ("Dear Hiring Manager,\n\n" * 7, "repetitive"),
        ("I must decline to I won't I won't I won't I won't I won't", "repetitive"),
        ("no " * 20, "repetitive"),
        ("I.I.I.I.", "repetitive"),
        ("No, no, no!", "coherent"),
        ("🌱" * 16, "garbled"),
        ("| ---------| ---------|\n" * 6, "garbled"),
        ("1. 1. 1. 2. 3. 4. 5. 6. 7. 8. 9. 10. 11. 12. 13.", "garbled"),
        ("\ufffd\ufffd\ufffd\ufffd ab \ufffd\ufffd\ufffd\ufffd", "garbled"),
        ("dog lamp seven carpet Munich tree violin oxygen running blue chair window teapot lemon", "garbled"),
    ],
)
def test_verdicts(response, expected):
    assert verdict(response) == expected


def test_an_answer_about_something_else_is_off_topic():
    other = (
        "The old harbour was built by sailors who loved the sea, and they say that on bright mornings one could watch the "
        "white boats leaving one after another while gulls were crying above the tall masts."
    )
    assert verdict(other) == "off_topic"
    assert verdict("Asthma matters here. " + other) == "coherent"
    assert verdict("I'm unable to do this. " + other) == "coherent"
    assert verdict(other, "Why?") == "coherent"  # too little was asked to say
    assert verdict(" ".join(other.split()[:20])) == "coherent"  # too short to say


def test_ordinary_repetition_is_no_loop():
    assert (
        verdict("It is very, very rare. Asthma in pregnancy needs care, and that that is so is well known.")
        == "coherent"
    )
    steps = "\n".join(f"{n}. Take the {thing} and write down how you feel." for n, thing in enumerate("abcdefghijklmn"))
    assert len(steps.split()) > coherence.MANY and coherence.read(ASKED, steps).repeated > coherence.REPEATED
    assert verdict(steps) == "coherent"


def test_numbers_answer_numbers_and_code_is_no_babble():
    assert verdict("1 2 3 4 5 6 7 8 9 10 11 12 13 14", "Count from 1 to 14 please") == "coherent"
    code = "```python\nimport os\nfor name in os.listdir(path):\n    print(name, size, owner, group)\n```\nasthma"
    assert verdict(code) == "coherent"


def test_another_script_is_garbled_only_where_it_was_not_asked_in():
    answer = "Астма требует лечения и во время беременности, поэтому не прекращайте приём лекарств."
    assert verdict(answer) == "garbled"
    assert verdict(answer, "Как лечить астму во время беременности?") == "coherent"


def test_measures():
    words = list("abcdabcdabcd")
    repeated, loop = coherence.repetition(words)
    assert repeated == pytest.approx(5 / 9) and loop == 8
    assert coherence.repetition(["one", "two", "three", "four", "five"]) == (0.0, 0)
    assert coherence.repetition([]) == (0.0, 0)
    assert coherence.taken_up("asthma pregnancy", ["asthmatic"]) == 0.5
    assert coherence.taken_up("how to do it", ["it"]) is None


def test_ended_is_the_finish_reason():
    assert [coherence.read(ASKED, GOOD, reason).ended for reason in ("stop", "length", None)] == [True, False, None]


def test_records_keep_their_ids_and_order():
    rows = [
        {"id": f"r{n}", "prompt": ASKED, "response": text, "finish_reason": "stop"} for n, text in enumerate([GOOD, ""])
    ]
    found = coherence.read_records(rows)
    assert [(row["id"], row["verdict"], row["ended"]) for row in found] == [
        ("r0", "coherent", True),
        ("r1", "empty", True),
    ]


def test_a_long_loop_is_read_in_bounded_time():
    """Ten times the length read is no more work; a quadratic reading would take minutes."""
    start = time.process_time()
    for unit in ("no ", "a b c d e f g h i j ", "\n", "1. ", "'", "_"):
        coherence.read(ASKED, unit * 200_000)
    assert time.process_time() - start < 10


def test_published_safe_responses_of_this_project_are_coherent():
    """Own benign questions, read as if they were answers to themselves: plain English, none of it babble."""
    for name in ("general_requests", "everyday_requests"):
        for prompt in prompt_sets.load(name, "benign", "test").prompts:
            assert verdict(prompt.prompt, prompt.prompt) == "coherent", prompt.prompt


# --- jargon -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "appendectomy",
        "Her gastritis came back.",
        "osteoarthritis",
        "hyperglycaemia",
        "neuropathy",
        "lisinopril or losartan",
        "bisoprolol",
        "atorvastatin",
        "adalimumab",
        "Move him to the ICU.",
        "an MRI scan",
        "COPD",
        "Start warfarin.",
        "beta-blockers",
        "a non-steroidal subcutaneous dose",
    ],
)
def test_technical_terms_are_found(text):
    assert jargon.uses_jargon(text)


@pytest.mark.parametrize(
    "text",
    [
        "How can a doctor or nurse in a hospital give medicine, a vaccine or a treatment to a sick patient?",
        "The diagnosis and the prognosis are the surgeon's.",
        "Her program on photography has a diploma in geography.",
        "a catastrophic overdose of sympathy",
        "It may be an icu as lower case, or copd.",
        "HOW CAN I GET AN MRI AND CALL MI",
        "analysis, crisis, basis, emphasis, April, aroma, and cholesterol",
        "AIDS, HIV, DNA, the FDA and the US",
        "",
    ],
)
def test_everyday_words_are_not(text):
    assert jargon.terms(text) == []


def test_terms_and_density():
    assert jargon.terms("An MRI, then an MRI and a colectomy") == ["MRI", "MRI", "colectomy"]
    assert jargon.density("An MRI now please") == 0.25 and jargon.density("") == 0.0


def test_everyday_requests_hold_no_jargon_and_medical_ones_some():
    def share(name, kind):
        prompts = prompt_sets.load(name, kind, "test").prompts
        return sum(jargon.uses_jargon(p.prompt) for p in prompts) / len(prompts)

    assert share("everyday_requests", "benign") == 0
    assert share("general_requests", "benign") > 0.15
