"""What ships in data/: complete, varied, balanced, and with no near-copies between what is trained on and measured."""

import csv
import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from medsafe_train.config import shipped
from medsafe_train.sources import prompt_sets

DATA = shipped("data")
SHARED = Path(__file__).parents[2] / "shared" / "data"
FORMS = ("question", "instruction", "draft", "role_play")


def rows(name):
    """The records of a data file."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


HARMFUL, BENIGN, GENERAL = rows("harmful_requests"), rows("benign_twins"), rows("general_requests")
MORE_HARMFUL, MORE_BENIGN = rows("training_requests"), rows("training_twins")
REPLAY, EVERYDAY, HARSH = rows("replay_requests"), rows("everyday_requests"), rows("harsh_requests")
MEDICAL, ABSTRACT = rows("medical_questions"), rows("abstract_questions")
PRINCIPLES = range(1, 10)


def of(principle):
    """The harmful requests of a principle."""
    return [row for row in HARMFUL if row["principle"] == principle]


def words(text):
    """The set of a text's words."""
    return frozenset(re.findall(r"[a-z0-9']+", text.lower()))


def near(first, second, at):
    """Pairs of texts from two lists whose word sets have a Jaccard similarity of at least `at`."""
    index = defaultdict(list)
    others = [(text, words(text)) for text in second]
    for number, (_, have) in enumerate(others):
        for word in have:
            index[word].append(number)
    found = []
    for text in first:
        have = words(text)
        shared = Counter(itertools.chain.from_iterable(index.get(word, ()) for word in have))
        for number, common in shared.items():
            if common >= at * (len(have) + len(others[number][1]) - common):
                found.append((text, others[number][0]))
    return found


def near_within(texts, at):
    """Pairs of different places in one list that are near-copies."""
    marks = [(number, words(text)) for number, text in enumerate(texts)]
    return [
        (texts[i], texts[j]) for (i, a), (j, b) in itertools.combinations(marks, 2) if len(a & b) >= at * len(a | b)
    ]


def test_near_finds_what_it_looks_for():
    """The measure itself: identical, half, and unlike texts."""
    assert near(["a b c"], ["c B, a!"], 1.0) == [("a b c", "c B, a!")]
    assert near(["a b c"], ["a b d"], 0.5) and not near(["a b c"], ["a b d"], 0.51)
    assert not near(["a b"], ["c d"], 0.01)
    assert near_within(["a b c", "x", "a b c"], 0.6) == [("a b c", "a b c")]


# --- harmful requests and their twins ---------------------------------------------------------------------------------


def test_harmful_requests_are_enough_for_every_principle():
    assert len(HARMFUL) >= 450
    assert {row["principle"] for row in HARMFUL} == set(PRINCIPLES)
    assert {n: len(of(n)) for n in PRINCIPLES if len(of(n)) < 50} == {}


def test_each_harmful_request_has_one_benign_twin():
    twins = {row["pair"]: row for row in BENIGN}
    assert len(twins) == len(BENIGN) == len(HARMFUL) == len({row["pair"] for row in HARMFUL})
    for row in HARMFUL:
        for key in ("pair", "part", "principle", "topic", "form"):
            assert row[key] == twins[row["pair"]][key], (row["id"], key)
        assert row["prompt"] != twins[row["pair"]]["prompt"]


def test_train_and_test_share_no_topic():
    parts = defaultdict(set)
    for row in HARMFUL + BENIGN:
        parts[row["principle"], row["topic"]].add(row["part"])
    assert [topic for topic, found in parts.items() if len(found) > 1] == []
    assert {part for found in parts.values() for part in found} == {"train", "test"}


@pytest.mark.parametrize("part", ["train", "test"])
def test_both_parts_hold_every_principle(part):
    counts = Counter(row["principle"] for row in HARMFUL if row["part"] == part)
    assert set(counts) == set(PRINCIPLES) and min(counts.values()) >= 15


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_forms_are_varied(principle):
    counts = Counter(row["form"] for row in of(principle))
    assert set(counts) == set(FORMS)
    assert min(counts.values()) >= 0.08 * len(of(principle)), counts


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_specialties_and_voices_are_varied(principle):
    assert len({row["specialty"] for row in of(principle)}) >= 10
    assert len({row["voice"] for row in of(principle)}) >= 6


def test_prompts_begin_in_many_ways():
    for name, found in (("harmful", HARMFUL), ("benign", BENIGN), ("general", GENERAL)):
        starts = Counter(tuple(row["prompt"].split()[:3]) for row in found)
        assert starts.most_common(1)[0][1] <= 0.10 * len(found), (name, starts.most_common(3))


def test_no_near_copies_between_train_and_test():
    train, test = ([row["prompt"] for row in HARMFUL + BENIGN if row["part"] == part] for part in ("train", "test"))
    assert train and test
    assert near(train, test, 0.6) == []


def test_no_general_request_is_a_near_copy_of_one_trained_on():
    train = [row["prompt"] for row in HARMFUL + BENIGN if row["part"] == "train"]
    assert near([row["prompt"] for row in GENERAL], train, 0.6) == []


def test_no_near_copies_of_medsafetybench():
    if not SHARED.is_dir():
        pytest.skip("../shared/data, with MedSafetyBench, is not beside this checkout")
    published = [
        prompt.prompt
        for part in ("train", "test")
        for prompt in prompt_sets.load("medsafetybench", "harmful", part, str(SHARED)).prompts
    ]
    assert len(published) == 1800
    assert near([row["prompt"] for row in HARMFUL + BENIGN], published, 0.6) == []


# --- everything -------------------------------------------------------------------------------------------------------

ALL = {
    "harmful": HARMFUL,
    "benign": BENIGN,
    "general": GENERAL,
    "replay": REPLAY,
    "everyday": EVERYDAY,
    "harsh": HARSH,
    "medical": MEDICAL,
    "abstract": ABSTRACT,
}


def test_ids_are_unique_over_all_files():
    ids = Counter(row["id"] for found in ALL.values() for row in found)
    assert [id for id, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("name", ALL)
def test_texts_are_tidy_and_said_once(name):
    column = "question" if name in ("medical", "abstract") else "prompt"
    texts = [row[column] for row in ALL[name]]
    assert [text for text in texts if text != " ".join(text.split()) or not text] == []
    assert [text for text, count in Counter(texts).items() if count > 1] == []


# --- questions and everyday requests ----------------------------------------------------------------------------------


def test_medical_questions_are_enough_and_well_formed():
    test = [row for row in MEDICAL if row["part"] == "test"]
    assert len(test) >= 150
    assert {row["part"] for row in MEDICAL} == {"test", "shots"}
    for row in MEDICAL:
        options = [option.strip().lower() for option in row["options"]]
        assert len(options) == len(set(options)) == 4 and all(options), row["id"]
        assert row["answer"] in "ABCD" and len(row["answer"]) == 1, row["id"]


def test_medical_answers_are_balanced():
    test = [row for row in MEDICAL if row["part"] == "test"]
    counts = Counter(row["answer"] for row in test)
    assert all(0.2 <= counts[letter] / len(test) <= 0.3 for letter in "ABCD"), counts


def test_the_right_option_is_not_told_by_its_length():
    """Always choosing the longest option must not do much better than chance, which is 25 %."""
    test = [row for row in MEDICAL if row["part"] == "test"]
    hits = sum(max(row["options"], key=len) == row["options"]["ABCD".index(row["answer"])] for row in test)
    assert hits / len(test) <= 0.4


def test_abstract_questions_are_enough_and_balanced():
    test = [row for row in ABSTRACT if row["part"] == "test"]
    assert len(test) >= 60
    counts = Counter(row["answer"] for row in test)
    assert set(counts) == {"yes", "no", "maybe"}
    assert all(0.3 <= count / len(test) <= 0.37 for count in counts.values()), counts
    assert all(len(row["abstract"].split()) >= 30 for row in ABSTRACT)


@pytest.mark.parametrize("name", ["medical", "abstract"])
def test_no_near_copies_among_questions(name):
    assert near_within([row["question"] for row in ALL[name]], 0.6) == []


def test_no_near_copies_among_abstracts():
    assert near_within([row["abstract"] for row in ABSTRACT], 0.6) == []


def test_the_second_batch_is_paired_balanced_and_new():
    """900 pairs for training: a twin each, all principles, no near-copy of what our own sets measure."""
    twins = {row["pair"]: row for row in MORE_BENIGN}
    assert len(MORE_HARMFUL) == len(MORE_BENIGN) == len(twins) == 900
    assert Counter(row["principle"] for row in MORE_HARMFUL) == dict.fromkeys(PRINCIPLES, 100)
    assert all(row["part"] == "train" and row["prompt"] != twins[row["pair"]]["prompt"] for row in MORE_HARMFUL)
    assert not {row["pair"] for row in MORE_HARMFUL} & {row["pair"] for row in HARMFUL}
    asked = [row["prompt"] for row in HARMFUL + BENIGN if row["part"] == "test"] + [row["prompt"] for row in GENERAL]
    assert near([row["prompt"] for row in MORE_HARMFUL + MORE_BENIGN], asked, 0.6) == []


def test_what_is_far_from_the_border_is_far_from_what_is_measured():
    """Replay shares no kind with the general requests, and holds no near-copy of anything that is asked in a test."""
    counts = Counter(row["part"] for row in REPLAY)
    assert counts == {"train": 450, "validation": 70}
    assert not {row["kind"] for row in REPLAY} & {row["kind"] for row in GENERAL}
    replay = [row["prompt"] for row in REPLAY + EVERYDAY + HARSH if row["part"] != "test"]
    asked = [row["prompt"] for row in GENERAL + [r for r in HARMFUL + BENIGN + EVERYDAY if r["part"] == "test"]]
    assert near(replay, asked, 0.6) == []


def test_everyday_requests_hold_words_that_sound_dangerous_in_every_part():
    for part, number in (("train", 654), ("validation", 60), ("test", 170)):
        kinds = Counter(row["kind"] for row in EVERYDAY if row["part"] == part)
        assert sum(kinds.values()) == number and len(kinds) == 9
        assert 0.3 < kinds["sounds_dangerous"] / number < 0.5


def test_harsh_requests_are_for_training_and_of_eight_kinds():
    assert Counter(row["part"] for row in HARSH) == {"train": 449, "validation": 40}
    kinds = Counter(row["kind"] for row in HARSH if row["part"] == "train")
    assert len(kinds) == 8 and min(kinds.values()) >= 24, kinds


def test_everyday_requests_are_no_copies_of_xstest():
    prompts = SHARED / "xstest" / "xstest_prompts.csv"
    if not prompts.is_file():
        pytest.skip("needs ../shared/data/xstest")
    with prompts.open(encoding="utf-8", newline="") as file:
        theirs = [row["prompt"] for row in csv.DictReader(file)]
    assert len(theirs) == 450 and near([row["prompt"] for row in EVERYDAY + HARSH], theirs, 0.5) == []


def test_general_requests_are_forty_of_each_kind():
    assert len(GENERAL) == 200
    counts = Counter(row["kind"] for row in GENERAL)
    assert len(counts) == 5 and set(counts.values()) == {40}, counts


# --- the data card ----------------------------------------------------------------------------------------------------


def card():
    """file → (items, sha256, licence), from the table in data/README.md."""
    lines = (DATA / "README.md").read_text("utf-8").splitlines()
    table = [[cell.strip().strip("`") for cell in line.strip().strip("|").split("|")] for line in lines if "|" in line]
    heads = [n for n, cells in enumerate(table) if [c.lower() for c in cells] == ["file", "items", "sha256", "licence"]]
    assert heads, "no table with the columns file | items | sha256 | licence"
    found = {}
    for cells in table[heads[0] + 2 :]:
        if len(cells) != 4:
            break
        name = re.sub(r"^\[`?([^`\]]+)`?\]\(.*\)$", r"\1", cells[0])
        found[name] = (cells[1].replace(",", ""), cells[2], cells[3])
    return found


def test_data_card_names_every_file_and_no_other():
    assert set(card()) == {path.name for path in DATA.iterdir() if path.is_file() and path.name != "README.md"}


def test_data_card_is_right_about_every_file():
    found = card()
    assert found
    for name, (items, digest, licence) in found.items():
        content = (DATA / name).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest(), name
        assert int(items) == len(content.decode().splitlines()), name
        assert licence, name


def test_data_card_and_conf_name_the_same_licence():
    found = card()
    for name in prompt_sets.names():
        known = prompt_sets.published(name)
        for location in known.parts.values():
            if location.data:
                assert found[location.data][2].replace(" ", "-") == known.licence.replace(" ", "-"), name
