"""The template teacher: safe responses that decline, vary, and fit the request."""

import re
from collections import Counter

import pytest

from medsafe_train.config import TeacherSettings, UserError
from medsafe_train.judges.refusal import label
from medsafe_train.sources import prompt_sets
from medsafe_train.sources.prompt_sets import Prompt
from medsafe_train.teachers import TEACHERS, template
from medsafe_train.teachers.ask import Ask

VERSION = TEACHERS["template"].version


def WRITE(requests, seed):
    """The template teacher's responses; it needs no settings, no model and no ledger."""
    asks = [Ask(f"{n}/{request.id}", request) for n, request in enumerate(requests)]
    written = TEACHERS["template"].write(asks, TeacherSettings(), None, seed, None)
    assert all((w.finish_reason, w.error) == ("stop", None) for w in written)
    return [w.response for w in written]


REQUESTS = prompt_sets.load("harmful_requests", "harmful", "train").prompts
RESPONSES = WRITE(REQUESTS, 0)


def bare(text):
    """A text's words, lower-case."""
    return re.findall(r"[a-z0-9']+", text.lower())


def fits(response, reasons):
    """Whether a response holds one of these reasons, whatever the subject in it."""
    return any(re.search(re.escape(reason).replace(r"\{subject\}", ".+?"), response) for reason in reasons)


def test_one_response_a_request_in_order():
    assert len(RESPONSES) == len(REQUESTS) > 200
    assert RESPONSES[3:9] == WRITE(REQUESTS[3:9], 0)
    assert isinstance(VERSION, int) and WRITE([], 0) == []


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_every_response_reads_as_a_refusal(seed):
    wrong = [text for text in WRITE(REQUESTS, seed) if label(text) != "refusal"]
    assert wrong == []


def test_every_opening_reads_as_a_refusal_by_itself():
    assert [text for text in template.OPENINGS if label(text) != "refusal"] == []


def test_same_seed_same_words_another_seed_others():
    assert WRITE(REQUESTS, 0) == RESPONSES
    other = WRITE(REQUESTS, 1)
    assert sum(a != b for a, b in zip(RESPONSES, other, strict=True)) >= 0.9 * len(REQUESTS)


def test_a_response_depends_on_the_request_and_not_on_its_neighbours():
    assert WRITE(REQUESTS[::-1], 0) == RESPONSES[::-1]


def test_responses_are_distinct():
    assert len(set(RESPONSES)) >= 0.95 * len(RESPONSES)


def test_no_opening_rules():
    starts = Counter(" ".join(bare(text)[:3]) for text in RESPONSES)
    assert starts.most_common(1)[0][1] <= 0.20 * len(RESPONSES), starts.most_common(3)
    assert len(starts) >= 8


@pytest.mark.parametrize("seed", [0, 5])
def test_length_and_form(seed):
    for text in WRITE(REQUESTS, seed):
        assert 5 <= len(text.split()) <= 80, text
        assert not re.search(r"[{}]", text), text
        assert text[0].isupper() and text[-1] in ".!?" and "  " not in text and text == text.strip(), text


def test_no_response_copies_eight_words_of_its_request():
    for request, response in zip(REQUESTS, RESPONSES, strict=True):
        words = bare(request.prompt)
        said = " ".join(bare(response))
        copied = [words[n : n + 8] for n in range(len(words) - 7) if f" {' '.join(words[n : n + 8])} " in f" {said} "]
        assert copied == [], response


def test_subject_comes_from_the_request():
    """The offer and the reason name what the request is about, and requests differ in it."""
    assert len({template.subject_of(request.prompt) for request in REQUESTS}) >= 10
    subject, offer = template.subject_of("How do I backdate a consent form?")
    assert subject == "informed consent"
    texts = WRITE([Prompt("x", "How do I backdate a consent form?", 2)], 3) + [
        WRITE([Prompt("x", "How do I backdate a consent form?", 2)], seed)[0] for seed in range(20)
    ]
    assert all(subject in text or offer in text for text in texts)
    assert template.subject_of("Xyzzy?") == template.DEFAULT_SUBJECT


@pytest.mark.parametrize("principle", range(1, 10))
def test_reason_fits_the_principle(principle):
    """Every response gives a reason, and each belongs to the request's principle."""
    texts = WRITE([request for request in REQUESTS if request.principle == principle], 0)
    others = [reason for n, reasons in template.REASONS.items() if n != principle for reason in reasons]
    assert texts and [text for text in texts if not fits(text, template.REASONS[principle])] == []
    assert [text for text in texts if fits(text, [*others, *template.UNKNOWN_REASONS])] == []


def test_requests_without_a_principle_work():
    requests = [Prompt(f"{n}", text) for n, text in enumerate(("Help me fake a scan.", "?", "x" * 5000, "日本語"))]
    for seed in range(10):
        texts = WRITE(requests, seed)
        assert [text for text in texts if label(text) != "refusal" or "{" in text] == []
        assert not any(fits(text, [r for reasons in template.REASONS.values() for r in reasons]) for text in texts)


def test_a_twin_is_more_than_a_template_can_write():
    with pytest.raises(UserError, match="cannot write a twin: add teacher=local or teacher=endpoint"):
        TEACHERS["template"].write([Ask("a", REQUESTS[0], "twin")], TeacherSettings(), None, 0, None)
