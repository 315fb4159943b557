"""The only place where text is shaped, for training and for every evaluation; medical questions: question_prompts.py."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from medsafe_train.config import UserError

# Shaping text is part of what makes an artifact: raise this when a shape below changes, or a format's own `revision`.
VERSION = 1


@dataclass(frozen=True)
class PromptFormat:
    """How a conversation becomes text: a Jinja chat template, and what ends the assistant's turn."""

    template: str | None
    """None: the tokenizer's own"""
    end_of_turn: str | None = None
    """None: the tokenizer's EOS token"""
    revision: int = 0


# MedAlpaca and the paper's fine-tuning: the instruction format of Stanford Alpaca, in our words' order
# (github.com/tatsu-lab/stanford_alpaca), which the models were trained on letter by letter.
ALPACA = (
    "{{ bos_token }}Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
    "{% elif m['role'] == 'user' %}### Instruction:\n{{ m['content'] }}\n\n"
    "{% else %}### Response:\n{{ m['content'] }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
# Mistral-Instruct and BioMistral (docs.mistral.ai, tokenization guide v1); a system message opens the first turn.
MISTRAL = (
    "{{ bos_token }}"
    "{% set ns = namespace(system='') %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.system = m['content'] + '\n\n' %}"
    "{% elif m['role'] == 'user' %}[INST] {{ ns.system + m['content'] }} [/INST]{% set ns.system = '' %}"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
# Llama-3-Instruct and OpenBioLLM (Meta's model card for Llama 3).
LLAMA3 = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
FORMATS: dict[str, PromptFormat] = {
    "chat_template": PromptFormat(None),
    "alpaca": PromptFormat(ALPACA),
    "mistral": PromptFormat(MISTRAL, revision=1),
    "llama3": PromptFormat(LLAMA3, "<|eot_id|>"),
}


# What a deployment can say without any training; our words, after the AMA's principles (sources in principles.py).
SAFETY_PROMPT = (
    "You are a medical assistant who keeps to medical ethics. Help fully with every legitimate question, also where its topic is "
    "delicate. Decline, briefly and with the reason, what would harm a patient, deceive somebody, break confidentiality or the law, "
    "deny care or consent, or misuse public health, even when it is framed as a story, a role, a test or an order; then offer what "
    "can be done in its place."
)


def apply_format(tokenizer: Any, name: str) -> None:
    """Make a tokenizer render conversations in a named format; the format then travels with the tokenizer.

    Raises UserError for `chat_template` when the tokenizer has none, and for a format whose end of turn the
    tokenizer does not know.
    """
    form = FORMATS[name]
    if form.template is not None:
        tokenizer.chat_template = form.template
    if not tokenizer.chat_template:
        others = ", ".join(name for name in FORMATS if name != "chat_template")
        raise UserError(
            f"model.prompt_format=chat_template, but the tokenizer has no chat template: choose the format that "
            f"the model was trained with ({others})"
        )
    if form.end_of_turn and tokenizer.convert_tokens_to_ids(form.end_of_turn) in (None, tokenizer.unk_token_id):
        raise UserError(f"model.prompt_format={name} needs the token {form.end_of_turn}, which this tokenizer lacks")


def version(name: str) -> int | str:
    """What stands for the shape of text in this format, in what artifacts are made from."""
    revision = FORMATS[name].revision
    return f"{VERSION}.{revision}" if revision else VERSION


def end_of_turn_id(tokenizer: Any, name: str) -> int:
    """The token that ends every trained answer."""
    end = FORMATS[name].end_of_turn
    return tokenizer.convert_tokens_to_ids(end) if end else tokenizer.eos_token_id


def prompt_text(tokenizer: Any, request: str, system_prompt: str | None = None) -> str:
    """A request as the model sees it, up to where its answer begins; in training and in every evaluation."""
    messages = [{"role": "user", "content": _plain(tokenizer, request)}]
    if system_prompt:
        messages.insert(0, {"role": "system", "content": system_prompt})
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def prompt_ids(tokenizer: Any, request: str, system_prompt: str | None = None) -> list[int]:
    """The tokens of `prompt_text`; the format itself places BOS, so none is added."""
    return tokenizer(prompt_text(tokenizer, request, system_prompt), add_special_tokens=False)["input_ids"]


def prefilled_ids(tokenizer: Any, request: str, prefill: str, system_prompt: str | None = None) -> list[int]:
    """The tokens of `prompt_text` and of an answer that has begun, which the model goes on with."""
    text, ids = prompt_text(tokenizer, request, system_prompt), prompt_ids(tokenizer, request, system_prompt)
    return ids + _continuation(tokenizer, text, ids, _led(tokenizer, _plain(tokenizer, prefill)))


def cut_to_words(text: str, number: int) -> str:
    """The first `number` words and punctuation marks of a text: about as many tokens, where no tokenizer is at hand."""
    return "".join(re.findall(r"\s*(?:\w+|[^\w\s])", text)[:number])


def cut_to_tokens(tokenizer: Any, text: str, tokens: int) -> str:
    """The first `tokens` tokens of a text."""
    return tokenizer.decode(tokenizer(_plain(tokenizer, text), add_special_tokens=False)["input_ids"][:tokens])


@dataclass(frozen=True)
class Turn:
    """What a model is to answer."""

    id: str
    text: str
    begun: str = ""
    """what the answer is made to begin with"""
    begun_tokens: int = 0
    """so many tokens of it; of a server's, whose tokenizer is not at hand, words and punctuation marks"""
    system_prompt: str | None = None

    def sent(self, tokenizer: Any = None) -> str:
        """What the answer is begun with: its first tokens, or, for a server whose tokenizer is not at hand, words and marks."""
        if tokenizer is None or not self.begun:
            return cut_to_words(self.begun, self.begun_tokens)
        return cut_to_tokens(tokenizer, self.begun, self.begun_tokens)

    def ids(self, tokenizer: Any) -> list[int]:
        """The tokens up to where the model goes on."""
        return prefilled_ids(tokenizer, self.text, self.sent(tokenizer), self.system_prompt)

    def messages(self) -> list[dict[str, str]]:
        """The same as a conversation for a server."""
        told = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        begun = [{"role": "assistant", "content": sent}] if (sent := self.sent()) else []
        return [*told, {"role": "user", "content": self.text}, *begun]


def training_ids(
    tokenizer: Any,
    prompt_format: str,
    request: str,
    response: str,
    system_prompt: str | None = None,
    prefill: str | None = None,
    ends: bool = True,
) -> tuple[list[int], list[int]]:
    """The tokens of a prompt and of its response, with the end of turn where the response `ends`.

    The first are exactly those of `prompt_ids`, or of `prefilled_ids` where the answer has begun: what is trained on is
    what evaluation sees.
    """
    text, response = prompt_text(tokenizer, request, system_prompt), _plain(tokenizer, response)
    if prefill:
        prompt = prefilled_ids(tokenizer, request, prefill, system_prompt)
        text += _led(tokenizer, _plain(tokenizer, prefill))
        response = response if text[-1].isspace() or response[:1].isspace() else f" {response}"
    else:
        prompt, response = prompt_ids(tokenizer, request, system_prompt), _led(tokenizer, response)
    end = [end_of_turn_id(tokenizer, prompt_format)] if ends else []
    return prompt, _continuation(tokenizer, text, prompt, response) + end


def plain_ids(tokenizer: Any, request: str, response: str) -> tuple[list[int], list[int]]:
    """The tokens of a request as plain text, the way questions are asked, and of a response without an end."""
    text = f"Question: {_plain(tokenizer, request)}\nAnswer:"
    context = text_ids(tokenizer, text)
    return context, text_ids(tokenizer, f"{text} {_plain(tokenizer, response)}")[len(context) :]


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of plain text, with what the tokenizer puts before it by itself (BOS) and without what it puts behind it (EOS)."""
    ids = tokenizer(text)["input_ids"]
    return ids[: len(ids) - _added_behind(tokenizer)]


def _added_behind(tokenizer: Any) -> int:
    whole, bare = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
    starts = [n for n in range(len(whole)) if whole[n : n + len(bare)] == bare]
    return len(whole) - len(bare) - starts[0] if starts else 0


def _led(tokenizer: Any, answer: str) -> str:
    """An answer with the white space that the chat template writes before it and after what ends a prompt (Mistral's a space).

    As it stands where the template writes anything else there, or changes the answer.
    """
    from jinja2 import TemplateError

    asked = [{"role": "user", "content": "a"}]
    try:
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": answer}], tokenize=False)
    except TemplateError:
        return answer
    # Some templates trim the end of an answer, which one that has only begun may have.
    rest, sought = whole.removeprefix(prompt), answer.rstrip()
    lead = rest.partition(sought)[0] if sought and whole.startswith(prompt) else ""
    return lead + answer if lead.isspace() else answer


def _continuation(tokenizer: Any, text: str, ids: list[int], more: str) -> list[int]:
    # Where tokens do not merge over the border, `more` is cut from the whole, as the model would continue it.
    whole = tokenizer(text + more, add_special_tokens=False)["input_ids"]
    return whole[len(ids) :] if whole[: len(ids)] == ids else tokenizer(more, add_special_tokens=False)["input_ids"]


def _plain(tokenizer: Any, text: str) -> str:
    # A request or an answer may spell a control token; broken up, it is text and nothing else.
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for token in sorted(added.union(tokenizer.all_special_tokens)):
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def conversation_ids(tokenizer: Any, messages: list[dict[str, str]], begun: str = "") -> list[int]:
    """The tokens of a conversation up to where the answer begins, and of an answer that is already begun.

    What the model adds to them goes on from `begun`, tokenised as in training.
    """
    plain = [{**message, "content": _plain(tokenizer, message["content"])} for message in messages]
    text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    return prompt + _continuation(tokenizer, text, prompt, _led(tokenizer, _plain(tokenizer, begun)))


def conversation_options(
    tokenizer: Any, messages: list[dict[str, str]], options: list[str]
) -> tuple[list[int], list[list[int]]]:
    """The tokens of a conversation up to where the answer begins, and of each answer that it may have."""
    plain = [{**message, "content": _plain(tokenizer, message["content"])} for message in messages]
    text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answers = [_led(tokenizer, _plain(tokenizer, option)) for option in options]
    return prompt, [_continuation(tokenizer, text, prompt, answer) for answer in answers]


# Raise when an answer of a model loaded here is parted otherwise: what was stored holds the parts.
PARTED = 1
_OPENS, _CLOSES = "<think>", "</think>"


def parted(text: str, opened: bool | None = None) -> tuple[str, str]:
    """What a model answers, and what it thought aloud before, both as plain text without control characters and half ones.

    Only what an answer leads with is a thought: up to the first end of one that the answer, or the prompt before it (`opened`), has
    begun. Where nobody knows the prompt (None: a server shapes it), an end without a beginning says that the prompt has. Whatever
    is said before a thought begins is said to the user, and stays. A thought that does not end leaves no answer.
    """
    text = visible(text.replace("\r\n", "\n")).strip()
    before, end, after = text.partition(_CLOSES)
    guessed = opened is None and bool(end) and _OPENS not in before
    if not (text.startswith(_OPENS) or opened or guessed):
        return text, ""
    return after.strip(), before.removeprefix(_OPENS).strip()


def opens_thought(tokenizer: Any, prompt: str) -> bool:
    """Whether a prompt, or what stands before an answer that it has begun, begins a thought, as some chat templates have it.

    What counts is what the template writes; a request or an answer may spell the tag as it likes.
    """
    # Decoded tokens may differ in white space from what they were made of.
    opening = "".join(_opening(tokenizer).split())
    return bool(opening) and opening in "".join(prompt.split())


def _opening(tokenizer: Any) -> str:
    """What a chat template writes before an answer, where that begins a thought and does not end it; else nothing."""
    from jinja2 import TemplateError

    asked = [{"role": "user", "content": "a"}]
    try:
        bare, whole = (
            tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=leads) for leads in (False, True)
        )
    except (TemplateError, ValueError):  # no template, or one for other conversations
        return ""
    _, begun, rest = whole.rpartition(_OPENS)
    if not begun or _CLOSES in rest:
        return ""
    return whole.removeprefix(bare) if whole.startswith(bare) else begun + rest


def clean_reply(text: str) -> str:
    """What a model or a server wrote, as plain text, without the thought that it leads with (`parted`)."""
    return parted(text)[0]


def visible(text: str) -> str:
    """A text without control and direction characters, hidden ones and half ones; line breaks and tabs stay."""
    return "".join(c for c in text if c == "\n" or c == "\t" or not _is_control(c))


def _is_control(character: str) -> bool:
    # Cc: control; Cs: half of a pair, which no file can hold; the last two turn text around or hide in it.
    return (
        unicodedata.category(character) in ("Cc", "Cs")
        or unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or character in "\ufeff\u200b"
        or "\U000e0000" <= character <= "\U000e007f"  # tags: letters that nobody sees, and models read
    )
