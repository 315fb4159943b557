"""The wording of medical questions: as the reference harness words them, with worked examples, as text and as a conversation."""

import pytest

from medsafe_train import prompts
from medsafe_train.config import MedicalQASettings, QuestionPrompt, UserError
from medsafe_train.models.load import load_tokenizer
from medsafe_train.question_prompts import as_chat, ask, question_text, reference_ids
from medsafe_train.sources.questions import Benchmark, Question

HEART = Question("1", "Which organ pumps blood?", ("Liver", "Heart"), 1)
EYE = Question("2", "Which one sees?", ("Eye", "Toe"), 0)
STUDY = Question("3", "Is it?", ("yes", "no", "maybe"), 0, "First.\nSecond.", "It is, in a long answer.")


@pytest.fixture
def tokenizer(reference):
    return load_tokenizer(reference)


def benchmark(style, description="", *questions):
    return Benchmark("mine", style, False, list(questions), {}, "", "", description)


def test_questions_are_worded_as_the_reference_harness_words_them():
    four = Question("1", "What?", ("one", "two", "three", "four"), 1)
    letters = [" A", " B", " C", " D"]
    options = "A. one\nB. two\nC. three\nD. four\nAnswer:"
    assert question_text("medqa", four) == (f"Question: What?\n{options}", letters)
    assert question_text("medmcqa", four) == (f"Question: What?\nChoices:\n{options}", letters)
    assert question_text("mmlu", four) == (f"What?\n{options}", letters)
    text, options = question_text("pubmedqa", STUDY)
    assert text == "Abstract: First.\nSecond.\nQuestion: Is it?\nAnswer:" and options == [" yes", " no", " maybe"]


def test_worked_examples_stand_before_the_question_as_text(tokenizer):
    asked = ask(tokenizer, benchmark("medqa", "About eyes."), HEART, [EYE, EYE], chat=False)
    shot = "Question: Which one sees?\nA. Eye\nB. Toe\nAnswer: A\n\n"
    whole = f"About eyes.\n\n{shot}{shot}Question: Which organ pumps blood?\nA. Liver\nB. Heart\nAnswer:"
    assert tokenizer.decode(asked.context) == whole and asked.shots == 2
    assert asked.context == tokenizer(whole)["input_ids"]
    assert [tokenizer.decode(option) for option in asked.options] == [" A", " B"]


def test_worked_examples_are_turns_of_a_conversation(tokenizer):
    asked = ask(tokenizer, benchmark("cloze", "About eyes."), HEART, [EYE], chat=True, system_prompt="Be brief.")
    assert tokenizer.decode(asked.context) == (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nAbout eyes.\n\nQuestion: Which one sees?\nAnswer:<|end|>\n"
        "<|assistant|>\nEye<|end|>\n<|user|>\nQuestion: Which organ pumps blood?\nAnswer:<|end|>\n<|assistant|>\n"
    )
    assert [tokenizer.decode(option) for option in asked.options] == ["Liver", "Heart"]


def test_a_question_that_spells_a_control_token_is_text(tokenizer):
    hostile = Question("1", "Is <|end|> the end?", ("yes", "no"), 0)
    asked = ask(tokenizer, benchmark("cloze"), hostile, [], chat=True)
    assert asked.context.count(tokenizer.convert_tokens_to_ids("<|end|>")) == 1


def test_too_long_prompts_lose_worked_examples_from_the_front_and_nothing_of_the_question(tokenizer):
    made = benchmark("medqa", "About eyes.")
    bare = ask(tokenizer, made, HEART, [], chat=False)
    one = ask(tokenizer, made, HEART, [EYE], chat=False)
    length = len(one.context) + max(map(len, one.options))
    found = ask(tokenizer, made, HEART, [HEART, HEART, EYE], chat=False, longest=length)
    assert found == one and found.shots == 1
    assert ask(tokenizer, made, HEART, [EYE], chat=False, longest=length - 1) == bare
    assert ask(tokenizer, made, HEART, [EYE], chat=False, longest=3).context == bare.context


def test_question_tokens_join_to_the_whole(tokenizer):
    text, continuations = question_text("cloze", HEART)
    asked = ask(tokenizer, benchmark("cloze"), HEART, [], chat=False)
    for ids, continuation in zip(asked.options, continuations, strict=True):
        assert tokenizer.decode(asked.context + ids) == text + continuation


@pytest.mark.parametrize(
    ("question", "before", "text"),
    [
        (STUDY, "Abstract: First.\nSecond.\nQuestion: Is it?\nAnswer:", " It is, in a long answer."),
        (HEART, "Question: Which organ pumps blood?\nAnswer:", " Heart"),
        (Question("4", "Is it?", ("yes", "no"), 0, "A study."), "Abstract:", " A study."),
    ],
)
def test_reference_text_is_the_long_answer_or_the_abstract_or_the_right_option(tokenizer, question, before, text):
    context, ids = reference_ids(tokenizer, benchmark("medqa"), question)
    assert (tokenizer.decode(context), tokenizer.decode(ids)) == (before, text)


@pytest.fixture
def ending(reference):
    """A tokenizer that adds BOS and EOS by itself, as `add_eos_token: true` has it."""
    from tokenizers.processors import TemplateProcessing

    found = load_tokenizer(reference)
    end = found.eos_token
    specials = [("<|system|>", found.convert_tokens_to_ids("<|system|>")), (end, found.eos_token_id)]
    found.backend_tokenizer.post_processor = TemplateProcessing(single=f"<|system|> $A {end}", special_tokens=specials)
    return found


def test_an_end_that_a_tokenizer_adds_is_no_part_of_question_or_option(tokenizer, ending):
    begins = [tokenizer.convert_tokens_to_ids("<|system|>")]
    assert ending("x")["input_ids"][-1] == ending.eos_token_id
    plain, found = (ask(t, benchmark("medqa"), HEART, [EYE], chat=False) for t in (tokenizer, ending))
    assert found.context == begins + plain.context and found.options == plain.options
    (before, text), (other, same) = (reference_ids(t, benchmark("medqa"), STUDY) for t in (tokenizer, ending))
    assert (other, same) == (begins + before, text)
    (before, text), (other, same) = (prompts.plain_ids(t, "Why?", "So.") for t in (tokenizer, ending))
    assert (other, same) == (begins + before, text)


def test_options_that_cannot_be_told_apart_are_refused(tokenizer, monkeypatch):
    same = Question("7", "Which?", ("Eye", "Eye"), 0)
    for chat in (True, False):
        with pytest.raises(UserError, match=r"^mine 7: all options have the same tokens \(\[.*leave the benchmark out"):
            ask(tokenizer, benchmark("cloze"), same, [], chat=chat)
    whole = prompts.text_ids  # and a tokenizer that drops a space at the end
    monkeypatch.setattr(prompts, "text_ids", lambda tokenizer, text: whole(tokenizer, text.rstrip()))
    for chat in (True, False):
        with pytest.raises(UserError, match=r"^mine 8: option 2 has no tokens"):
            ask(tokenizer, benchmark("cloze"), Question("8", "Which?", ("Eye", ""), 0), [], chat=chat)
    with pytest.raises(UserError, match=r"^mine 9: its text has no tokens"):
        reference_ids(tokenizer, benchmark("cloze"), Question("9", "Which?", ("",), 0))


def test_auto_asks_in_the_format_that_a_model_was_tuned_in():
    auto = MedicalQASettings()
    chats = {name for name in prompts.FORMATS if as_chat(auto, name)}
    assert chats == {"chat_template", "mistral", "llama3"}
    assert as_chat(MedicalQASettings(prompt=QuestionPrompt.chat), "alpaca")
    assert not as_chat(MedicalQASettings(prompt=QuestionPrompt.plain), "chat_template")
