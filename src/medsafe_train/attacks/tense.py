"""Puts the clauses of a request into the past: auxiliaries everywhere, other verbs after who, which and that."""

from __future__ import annotations

import re

from medsafe_train.attacks.parts import VERBS

_SHIFTS = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\b(?:do not|does not|don't|doesn't)\b", "did not"),
        (r"\b(?:cannot|can't|can not)\b", "could not"),
        (r"\b(?:won't|will not)\b", "would not"),
        (r"\bisn't\b", "was not"),
        (r"\baren't\b", "were not"),
        (r"\bis\b", "was"),
        (r"\bare\b", "were"),
        (r"\bhas\b", "had"),
        (r"\b(who|which|that|they|we|I) have\b", r"\1 had"),
        (r"\bcan\b", "could"),
        (r"\b(who|which|that|they|it|he|she|we|I) will\b", r"\1 would"),
        (r"\b(he|she|it)'s (?=(?:not |never )?\w+(?:ed|ing)\b|an? |the |not )", r"\1 was "),
        (r"\bI'm\b", "I was"),
        (r"\b(they|we|you)'re\b", r"\1 were"),
    )
]
_RELATIVE = re.compile(r"\b(who|which|that) ((?:[a-z]+ly|often|never|always|still) )?([a-z]+s)\b")
_IRREGULAR = {
    "give": "gave", "take": "took", "make": "made", "write": "wrote", "come": "came", "find": "found", "get": "got", "keep": "kept",
    "run": "ran", "tell": "told", "show": "showed", "teach": "taught", "hide": "hid", "steal": "stole", "sell": "sold", "send": "sent",
    "leave": "left", "mislead": "misled", "put": "put", "set": "set", "cut": "cut", "let": "let", "break": "broke", "speak": "spoke",
    "say": "said", "pay": "paid", "hurt": "hurt", "think": "thought", "withhold": "withheld", "choose": "chose", "draw": "drew",
    "spread": "spread", "build": "built", "forge": "forged", "seek": "sought", "bury": "buried", "go": "went", "do": "did",
    "throw": "threw", "offer": "offered", "treat": "treated", "admit": "admitted", "permit": "permitted", "submit": "submitted",
    "refer": "referred", "prefer": "preferred", "omit": "omitted", "stop": "stopped", "rob": "robbed", "gag": "gagged",
    "drag": "dragged", "forbid": "forbade", "bring": "brought", "buy": "bought", "understand": "understood", "know": "knew",
    "feel": "felt", "mean": "meant", "lose": "lost", "bid": "bid",
}  # fmt: skip
_RELATIVE_VERBS = (
    VERBS
    | frozenset(_IRREGULAR)
    | frozenset(
        """need want benefit earn live suffer depend involve include contain seem appear lack own work harm cause favor
    favour ensure require rely aim help result lead compromise violate conflict contribute apply""".split()  # noqa: SIM905
    )
)


def backshift(text: str) -> str:
    """A text with its present tense put into the past, as far as the rules go; unchanged where it quotes or names a title."""
    if '"' in text or ":" in text:
        return text
    for pattern, shifted in _SHIFTS:
        text = pattern.sub(shifted, text)
    return _RELATIVE.sub(_shift_relative, text)


def _shift_relative(match: re.Match[str]) -> str:
    base = _third_person(match[3])
    if base is None:
        return match[0]
    past_form = _IRREGULAR.get(base) or _regular_past(base)
    return f"{match[1]} {match[2] or ''}{past_form}"


def _third_person(word: str) -> str | None:
    stems = [word[:-1]]
    stems += [word[:-2]] if word.endswith("es") else []
    stems += [word[:-3] + "y"] if word.endswith("ies") else []
    return next((stem for stem in stems if stem in _RELATIVE_VERBS), None)


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return f"{base}d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return f"{base[:-1]}ied"
    return f"{base}ed"
