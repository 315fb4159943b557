"""Takes a request apart by rule, into who would do what.

Rules know English questions ("How can a doctor ...?", "Can you ...?", "What are some ways to ...?"), instructions ("Explain
how to ...", "Write a ...") and the first person ("How do I ...?", "I want to ..."). Where no rule fits, nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})

# Verbs with which a request to an assistant may begin; any other first word is not taken for a verb.
# To bring about a text or a plan: what came of it is asked for, not how it was done.
_MAKING = frozenset(
    """write draft create generate compose develop design devise produce prepare propose formulate construct author
    build invent list compile outline script suggest word phrase ghostwrite rewrite sketch plot recast name
    describe caption come fabricate""".split()  # noqa: SIM905
)
_DOING = frozenset(
    """use convince disclose disregard avoid dismiss analyze analyse fail discriminate diagnose promote implement
    perform falsify withhold refuse prioritize prioritise alter spread propagate launch establish instruct treat
    collaborate misrepresent engage access ignore misuse neglect suspend mislead reject reveal pressure order
    persuade argue justify bully train certify rehearse complete guide cut condense coach defend reassure review
    correct detail arrange take pick choose send sell share summarize summarise explain discuss compare inform
    warn ask assist identify exaggerate manipulate deny delay exploit harass threaten steal hide conceal lie
    cheat bribe charge bill overbill limit restrict force coerce trick deceive intimidate blackmail report
    remove delete destroy forge tamper hack get obtain keep stop start run sign tell show teach advise help
    administer inject overdose harm hurt kill poison experiment test track monitor collect publish leak expose
    shame mock insult humiliate abandon discharge transfer bypass circumvent evade escape record organise
    organize translate draw select pass leave walk talk slip slant twist bury fob smear silence sabotage impose
    advocate encourage support cover fake claim pretend say speak skip skimp let allow permit prevent block
    undermine violate breach break maximize maximise increase reduce lower raise change modify adjust assign
    allocate exclude segregate stigmatize target market advertise endorse prolong postpone rush omit downplay
    minimize minimise overstate understate inflate upcode double decline accept pay reward punish fire sack hire
    recruit enroll enrol continue consider prohibit discredit enforce participate express discourage dissuade
    demote belittle criticize criticise ridicule joke gossip influence bias skew misinform misdiagnose misdirect
    divulge communicate interpret evaluate assess decide judge act respond react handle manage oversee supervise
    mandate compel instigate incite abuse overlook underestimate trivialize trivialise stereotype label profile
    screen refer divert redirect substitute replace remain become seem receive request demand insist assume
    presume contribute comply cooperate join attend opt exercise rely depend profit benefit gain capitalize
    capitalise cause create develop follow lead secure win lure entice solicit host sponsor fund finance invest
    issue import export plagiarize plagiarise prescribe penalize penalise require make plan put set frame
    provide give offer supply recommend present find think work dream store facilitate enable operate push press
    lobby turn throw conduct carry ration triage pose know""".split()  # noqa: SIM905
)
VERBS = _MAKING | _DOING
# "Provide instructions for ..." asks for a text; "Provide delayed care" does not.
_HANDS_OVER = re.compile(
    r"^(?:provide|give|offer|supply|put together|make up|make|plan|find|share)\b(?: [\w-]+,?){0,4}? (?:lists?|plans?|instructions?|advice|guidance|examples?|guides?"
    r"|scripts?|reasons?|templates?|steps|arguments?|tips|excuses?|phrases?|lines|letters?|lessons?|ideas|campaign|blueprint"
    r"|schemes?|quotes?|poems?|jokes?|stories|story|pretext|records?|sign|statements?|protocol|recipes?|information)\b",
    re.IGNORECASE,
)
# Roles and scenes ("Pretend you are ...") frame a request themselves and are left as they are.
_SCENE = re.compile(
    r"^(?:pretend|imagine|act|play|you(?:'re| are)|suppose|assume|be|take (?:on )?the (?:role|part)|let's (?:pretend|imagine)"
    r"|speak as|dream|impersonate|pose|think of yourself)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
SUBJECTS = {"i": "someone in my position", "we": "people in our position", "you": "people"}
PEOPLE = "people"
# What a pronoun or a noun phrase is: everything up to the verb, which follows a modal in its base form.
_DETERMINER = r"(?:an?|the|my|our|some|one|this|any|every|each|his|her|their|your)"
_MODAL = r"(?:can|could|might|would|should|may|do|does|did|will|must|shall)"

_HOW = re.compile(
    rf"^(?:and |so |but |also |[^,.?!:]{{3,60}}, )?how (?:exactly |best |then |else )?{_MODAL} (?P<rest>.+)$",
    re.IGNORECASE,
)
_HOW_TO = re.compile(
    r"^(?:please )?(?:explain|tell|show|teach|advise|instruct|describe|outline|discuss|detail|offer|provide|give|write|share|suggest)\b"
    r"(?: (?:me|us|them|someone|readers))?"
    r"(?P<what>(?: (?:an?|some|the|your|any|step-by-step|detailed|specific|clear|comprehensive|with|advice|guidance|tips|steps|instructions|directions"
    r"|ways|strategies|methods|examples|ideas|information|article|guide|explanation|tutorial|blog post|and|for|of|on|about|in detail))*)"
    r" (?P<link>how (?:best )?to|ways to|steps to|methods to|strategies to|instructions to|tips to) (?P<act>.+)$",
    re.IGNORECASE,
)
_MAY_I = re.compile(r"^(?:can|could|may|might|should|would) (?P<rest>(?:i|we|our|my|the|an?|one)\b.+)$", re.IGNORECASE)
_CAN_YOU = re.compile(
    r"^(?:please |kindly )?(?:can|could|would|will) you (?:please |kindly )?(?P<act>.+)$", re.IGNORECASE
)
_WANT = re.compile(
    r"^i(?:'d| would|'m| am)? (?:want|need|like|wish|love|plan|intend|have|trying|planning|going)"
    r"(?P<whom> (?:you|the assistant))? to (?P<act>.+)$",
    re.IGNORECASE,
)
_ASKS_FOR_IT = re.compile(
    r"^(?:(?:can|could|would|will) you (?:please )?(?:help|assist|suggest|advise|tell|give|provide|find|show|recommend)\b"
    r"|how (?:can|do|could|should) i\b|what (?:can|should|do) i\b|please help\b|help me\b|is there (?:a|any) way\b)"
    r"(?:.{0,60}\b(?:this|that|it|so)\b.{0,30}|(?: me)?)$",
    re.IGNORECASE,
)
_WAYS = re.compile(
    r"^(?:what (?:are|is|would be)|give me|list|suggest|provide(?: me with)?|name|recommend|is there|are there) (?P<which>(?:[\w-]+ ){0,5}?"
    r"(?:ways?|methods?|strategies|strategy|tactics?|techniques?|tricks?|steps|means)) (?:that )?"
    r"(?P<link>to|for|(?:i|we|you) (?:can|could|might)|in which (?:i|we) (?:can|could)|by which (?:an?|the) [\w ]{3,40}? can) (?P<act>.+)$",
    re.IGNORECASE,
)
_HELP = re.compile(
    r"^(?:please )?(?:help|assist|advise|coach|guide|teach|show|train|tell) (?P<whom>me|us|our [\w-]+(?: (?!how\b|to\b|in\b)[\w-]+)?|the [\w-]+)(?: out)?"
    r"(?P<link> (?:in|on|with|how to|to|by|about|through))? (?P<act>.+)$",
    re.IGNORECASE,
)
_NO_VERB = frozenset(
    ("with", "in", "on", "out", "by", "my", "our", "a", "an", "the", "and", "what", "how", "who", "please", "some")
)
_TO_ME = re.compile(
    r"^(?:tell|show|teach|advise|help|assist|coach|guide|train|let|get|talk)(?: to)? (?:me|us)\b", re.IGNORECASE
)
_WHICH = re.compile(
    rf"^(?P<open>(?:what|which|where|who|why|when|whose|how (?:many|much|long|often))(?:'s)?\b[^.?!]*?) ?\b(?P<verb>{_MODAL}|is|are|was|were|has|have)\b(?P<rest> .+)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Act:
    """What a request would have done: `subject` and a verb phrase in its base form, after any sentences that lead up to it."""

    subject: str
    verb: str
    making: bool = False
    """whether a text or a plan is to be brought about"""
    lead: str = ""


@dataclass(frozen=True)
class Asks:
    """A question by what, which or why: its opening, its finite verb and the rest."""

    opening: str
    verb: str
    rest: str
    lead: str = ""


def take_apart(request: str) -> Act | Asks | None:
    """The act or the question in a request, or None where no rule fits or a rule would be a guess."""
    text = " ".join(request.translate(_QUOTES).split())
    text = re.sub(r"\b([Ww])hat'?s\b", r"\1hat is", text)
    if not text or "```" in text:
        return None
    sentences = _SENTENCE.split(text)
    if len(sentences) == 2 and (wanted := _wanted(sentences[0])) and _ASKS_FOR_IT.search(sentences[1].rstrip("?!. ")):
        return wanted
    *lead, last = sentences
    # A scene or a second demand before the last sentence would be torn from what is asked for in it.
    if any(_SCENE.search(part) or part.endswith("?") or _demand(part) for part in lead) or _SCENE.search(last):
        return None
    return _sentence(last.strip(" .?!"), " ".join(lead), last.endswith("?"))


def _sentence(text: str, lead: str, question: bool) -> Act | Asks | None:
    if wanted := _wanted(text):
        return Act(wanted.subject, wanted.verb, wanted.making, lead)
    if match := _HOW.match(text):
        return _how(text, match, lead)
    if (match := _WAYS.match(text)) and (ways := _ways(match, lead)):
        return ways
    if (match := _HOW_TO.match(text)) and (match["link"].endswith("how to") or _base(match["act"])):
        return Act(PEOPLE, match["act"], False, lead)
    if match := _CAN_YOU.match(text):
        return _sentence(match["act"], lead, False)
    if (match := _MAY_I.match(text)) and (found := _subject_and_verb(match["rest"])):
        return Act(found[0], found[1], False, lead)
    if (match := _HELP.match(text)) and (helped := _helped(match, lead)):
        return helped
    if _demand(text):
        return _demanded(text, lead)
    if question and (match := _WHICH.match(text)) and match["open"].split()[0].lower() != "how":
        return _which(match, lead)
    return None


def _how(text: str, match: re.Match[str], lead: str) -> Act | None:
    found = _subject_and_verb(match["rest"])
    if not found:
        return None
    before = re.split(r"\bhow\b", text, maxsplit=1, flags=re.IGNORECASE)[0].strip(" ,")
    if before.lower() in ("", "and", "so", "but", "also"):
        return Act(*found, lead=lead)
    # "As an insurer, how do we ...": who asks becomes the subject.
    role = re.match(r"^as (?P<who>(?:an?|the) [^,]+)$", before, re.IGNORECASE)
    return Act(role["who"], found[1], lead=lead) if role else None


def _ways(match: re.Match[str], lead: str) -> Act | None:
    act, link = match["act"], match["link"].lower()
    if link == "for":
        found = re.match(rf"^(?P<subject>{_DETERMINER} [\w' -]{{2,50}}?) to (?P<act>.+)$", act)
        return Act(found["subject"], found["act"], False, lead) if found and _base(found["act"]) else None
    if not _base(act):
        return None
    if link == "to":
        return Act(PEOPLE, act, False, lead)
    if link.startswith("by which"):
        return Act(link.removeprefix("by which ").removesuffix(" can"), act, False, lead)
    return Act(SUBJECTS["we" if " we " in f" {link} " else "i"], act, False, lead)


def _helped(match: re.Match[str], lead: str) -> Act | None:
    who, link, act = match["whom"].lower(), (match["link"] or "").strip(), match["act"]
    subject = {"me": SUBJECTS["i"], "us": SUBJECTS["we"]}.get(who, match["whom"])
    # After "help me" and "how to" any word is a verb that is not one of these.
    verb = (
        _base(act)
        or link.endswith("to")
        or (who in ("me", "us") and _first(act) not in _NO_VERB and match[0].lower().startswith("help"))
    )
    if link in ("", "to", "how to") and verb:
        return Act(subject, act, False, lead)
    if link in ("in", "on", "with", "by", "through") and re.match(r"^[a-z-]+ing\b", act, re.IGNORECASE):
        return Act(subject, f"go about {act}", False, lead)
    return None


def _wanted(sentence: str) -> Act | None:
    match = _WANT.match(sentence.strip(" .!"))
    if not match or not _base(match["act"]):
        return None
    subject = PEOPLE if match["whom"] else SUBJECTS["i"]
    return Act(subject, match["act"], _makes(match["act"]))


def _demand(text: str) -> bool:
    words = re.sub(r"^(?:please|kindly|now|just),? ", "", text, flags=re.IGNORECASE)
    return _base(words)


def _demanded(text: str, lead: str) -> Act | None:
    text = re.sub(r"^(?:please|kindly|now|just),? ", "", text, flags=re.IGNORECASE)
    # "Give me a list": to whom it is given is not part of what is done.
    text = re.sub(r"^(provide|supply) (?:me|us) with ", r"\1 ", text, flags=re.IGNORECASE)
    text = re.sub(
        rf"^({'|'.join(sorted(_MAKING))}|give|offer|make|find|get) (?:me|us) ", r"\1 ", text, flags=re.IGNORECASE
    )
    # "Tell me what to say": what is to be done is not the telling.
    if re.search(r"\b(?:your|you|yourself)\b", text, re.IGNORECASE) or _TO_ME.search(text):
        return None
    return Act(PEOPLE, text[0].lower() + text[1:], _makes(text), lead)


def _which(match: re.Match[str], lead: str) -> Asks | None:
    opening, verb, rest = match["open"].strip(), match["verb"].lower(), match["rest"].strip()
    if opening.lower().endswith("'s") or re.search(r"\b(?:you|your)\b", rest, re.IGNORECASE):
        return None
    # The finite verb of the question itself stands near its opening; a later one belongs to a clause inside it.
    return Asks(opening, verb, rest, lead) if len(opening.split()) <= 6 and " that " not in f" {opening} " else None


def _subject_and_verb(text: str) -> tuple[str, str] | None:
    # The subject ends where a verb in its base form begins: the first known one, after at least one word.
    words = text.split()
    if words[0].lower() in SUBJECTS:
        return (SUBJECTS[words[0].lower()], " ".join(words[1:])) if len(words) > 1 else None
    for place in range(1, min(len(words), 12)):
        word = words[place].lower().strip(",").removeprefix("self-")
        after_adverb = word.endswith("ly") and place + 1 < len(words) and words[place + 1].lower() in VERBS
        # "a health plan deny": of two verbs in a row, the first is a noun.
        another = (
            place + 1 < len(words) and words[place + 1].lower() in VERBS and word not in ("help", "be", "not", "never")
        )
        noun = another or words[place - 1].lower() in (
            "a",
            "an",
            "the",
            "my",
            "our",
            "of",
            "for",
            "to",
            "and",
            "or",
            "'s",
            "in",
            "with",
        )
        if (word in VERBS or word in ("be", "have", "not", "go", "put", "never") or after_adverb) and not noun:
            return " ".join(words[:place]), " ".join(words[place:])
    return None


def _first(text: str) -> str:
    words = re.findall(r"[A-Za-z-]+", text.removeprefix("self-"))
    while len(words) > 1 and words[0].lower().endswith("ly"):
        words = words[1:]
    return words[0].lower().replace("-", "") if words else ""


def _makes(text: str) -> bool:
    return _first(text) in _MAKING or _HANDS_OVER.search(text) is not None


def _base(text: str) -> bool:
    return _first(text) in VERBS or _first(text) in ("be", "have", "go", "not", "never", "do")
