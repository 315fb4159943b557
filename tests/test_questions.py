"""Benchmarks: the published ones whole, a user's own in a few lines, and one line for everything that is wrong with them."""

import csv
import hashlib
import json
import re
from collections import Counter
from dataclasses import fields

import pytest

from medsafe_train.config import UserError
from medsafe_train.sources import descriptions, question_rows, questions
from medsafe_train.sources.files import Row
from medsafe_train.sources.read import Location
from tests.conftest import ROOT

OWN = [
    {"id": "1", "question": "Which organ pumps blood?", "options": ["Liver", "Heart"], "answer": "B"},
    {"id": "2", "question": "Which one filters it?", "options": ["Kidney", "Ear"], "answer": "Kidney"},
]
SHOWN = {"id": "3", "question": "Which one sees?", "options": ["Eye", "Toe"], "answer": "A", "part": "train"}


@pytest.fixture(scope="module")
def shared_data():
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data, the published data sets, is not beside this checkout")
    return str(folder)


def complaint(given, **more):
    with pytest.raises(UserError) as error:
        questions.load(given, **more)
    text = str(error.value)
    assert "\n" not in text
    return text


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_users_file_is_a_benchmark(tmp_path):
    found = questions.load(lines(tmp_path / "mine.jsonl", [*OWN, SHOWN]), shots=True)
    assert (found.name, found.style, found.normalise) == ("mine", "medqa", False)
    assert [(q.id, q.answer) for q in found.questions] == [("1", 1), ("2", 0)]
    assert [q.id for q in found.pool] == ["3"] and len(next(iter(found.sha256.values()))) == 64


def test_records_name_a_file_alike_wherever_it_lies(tmp_path, shared_data):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        assert [*questions.load(lines(tmp_path / folder / "mine.jsonl", OWN)).sha256] == ["mine.jsonl"]
    assert [*questions.load("medical_questions").sha256] == ["data/medical_questions.jsonl"]
    published = questions.load("medqa_4options", data_folder=shared_data).sha256
    assert [*published] == ["medqa/phrases_no_exclude_test.jsonl"]


def test_a_users_csv_and_json(tmp_path):
    (tmp_path / "mine.csv").write_text('question,A,B,C,answer\n"Hot, or not?",hot,not,both,C\nWhy?,x,y,z,y\n')
    found = questions.load(str(tmp_path / "mine.csv")).questions
    assert [(q.id, q.options, q.answer) for q in found] == [
        ("0000", ("hot", "not", "both"), 2),
        ("0001", ("x", "y", "z"), 1),
    ]
    (tmp_path / "mine.json").write_text(json.dumps([{"question": "Does it?", "abstract": "It does.", "answer": "yes"}]))
    found = questions.load(str(tmp_path / "mine.json"))
    assert found.style == "pubmedqa" and found.questions[0].options == ("yes", "no", "maybe")


def test_a_users_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(OWN), tmp_path / "mine.parquet")
    assert [q.answer for q in questions.load(str(tmp_path / "mine.parquet")).questions] == [1, 0]
    (tmp_path / "bad.parquet").write_text("no")
    assert "bad.parquet: not Parquet" in complaint(str(tmp_path / "bad.parquet"))


def test_a_users_yaml_is_a_benchmark(tmp_path):
    lines(tmp_path / "asked.jsonl", OWN)
    lines(tmp_path / "shown.jsonl", [SHOWN, {**OWN[0], "id": "9"}])
    (tmp_path / "ward.yaml").write_text(
        "where: asked.jsonl\nshots: {file: shown.jsonl}\nstyle: cloze\nnormalise: true\n"
    )
    found = questions.load(str(tmp_path / "ward.yaml"), shots=True)
    assert (found.name, found.style, found.normalise, len(found.sha256)) == ("ward", "cloze", True, 2)
    # The second worked example is asked too, so it is not shown.
    assert [q.id for q in found.pool] == ["3"]


def test_shots_are_the_same_for_a_seed_and_never_asked(tmp_path):
    rows = [{**SHOWN, "id": f"s{n}", "question": f"Which is {n}?"} for n in range(20)]
    found = questions.load(lines(tmp_path / "mine.jsonl", [*OWN, *rows]), shots=True)
    assert found.shots(3, 1) == found.shots(3, 1) != found.shots(3, 2)
    assert not {q.id for q in found.shots(20, 0)} & {q.id for q in found.questions}
    with pytest.raises(UserError, match=r"medical_qa.shots=21: mine has 20 worked examples"):
        found.shots(21, 0)
    with pytest.raises(UserError, match="no worked examples"):
        questions.load(lines(tmp_path / "bare.jsonl", OWN), shots=True).shots(1, 0)


def test_a_worked_example_is_not_what_is_asked_in_other_case_or_whitespace(tmp_path):
    again = {**SHOWN, "id": "4", "question": "which organ\u00a0 PUMPS blood? "}
    found = questions.load(lines(tmp_path / "mine.jsonl", [*OWN, SHOWN, again]), shots=True)
    assert [q.id for q in found.pool] == ["3"]


def asked(path):
    return questions.load(str(path)).questions


TABLE = [["Question", "A", "B", "ANSWER"], ["Which pumps, or beats?", "Liver", "Heart; it beats", "b"]]


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("csv", ";"), ("csv", "\t"), ("tsv", "\t")])
def test_a_table_of_any_separator_with_headers_and_letters_of_any_case(tmp_path, suffix, mark):
    rows = [mark.join(f'"{cell}"' for cell in row) for row in TABLE]
    (tmp_path / f"mine.{suffix}").write_text("\ufeff" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    (found,) = asked(tmp_path / f"mine.{suffix}")
    assert (found.question, found.options, found.answer) == (TABLE[1][0], ("Liver", "Heart; it beats"), 1)


def test_a_table_says_what_parts_its_fields(tmp_path):
    (tmp_path / "mine.csv").write_text("question;A;B;answer\nWhich?;Liver;Heart\n")
    assert "mine.csv:2: not as many fields as the header has: check semicolons and quotes" in complaint(
        str(tmp_path / "mine.csv")
    )


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path, refused):
    (tmp_path / "mine.xlsx").write_bytes(b"PK\x03\x04\xff")
    line = refused("+recipe=smoke", f"medical_qa.benchmarks=[{tmp_path / 'mine.xlsx'}]")
    assert "mine.xlsx: a spreadsheet: save it as CSV in UTF-8" in line


def test_lists_in_cells_of_a_table(tmp_path):
    (tmp_path / "mine.csv").write_text('question,options,answer\nWhich?,"[""Liver"", ""Heart""]",Heart\n')
    assert [(q.options, q.answer) for q in asked(tmp_path / "mine.csv")] == [(("Liver", "Heart"), 1)]
    (tmp_path / "mine.csv").write_text("question,options,answer\nWhich?,\"['Liver', 'Heart']\",Heart\n")
    assert "mine.csv:2: options \"['Liver', 'Heart']\" is not a list in JSON" in complaint(str(tmp_path / "mine.csv"))


OFFICIAL = [
    ("Which chamber, of the heart, pumps to the body?", "left atrium", "B", "left ventricle", "right atrium", "C"),
    ('The "pacemaker"\nis the', "AV node", "bundle", "fibre", "SA node", "D"),
]


def test_mmlu_of_its_authors_has_no_header(tmp_path):
    with (tmp_path / "anatomy_test.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(OFFICIAL)
    (tmp_path / "mine.yaml").write_text("where: anatomy_test.csv\nreader: mmlu\nstyle: mmlu\n")
    for given in ("anatomy_test.csv", "mine.yaml"):
        found = asked(tmp_path / given)
        assert [(q.question, *q.options, "ABCD"[q.answer]) for q in found] == OFFICIAL


@pytest.mark.parametrize(
    ("header", "row"),
    [("question,answer,A,B,C,D", "Which?,B,x,y,z,w"), ("Id,Question,Answer,B,C,A", "1,Which?,B,y,z,x")],
)
def test_a_header_that_ends_in_a_letter_is_one(tmp_path, header, row):
    (tmp_path / "mine.csv").write_text(f"{header}\n{row}\n")
    assert [(q.question, q.options[q.answer]) for q in asked(tmp_path / "mine.csv")] == [("Which?", "y")]


def test_pubmedqa_as_parquet_from_the_hub(tmp_path):
    import pyarrow
    import pyarrow.parquet

    context = {"contexts": ["It is.", "So they say."], "labels": ["A", "B"], "meshes": []}
    row = {"pubid": 7, "question": "Is it?", "context": context, "long_answer": "Yes, it is.", "final_decision": "yes"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "mine.parquet")
    found = questions.load(str(tmp_path / "mine.parquet"))
    assert found.style == "pubmedqa" and found.questions == [
        question_rows.Question("7", "Is it?", ("yes", "no", "maybe"), 0, "It is.\nSo they say.", "Yes, it is.")
    ]


def test_json_lines_in_a_file_called_json(tmp_path):
    rows = [{"id": f"q{n}", "question": f"Which {n}?", **dict(zip(("opa", "opb", "opc", "opd"), "pqrs", strict=True)), "cop": n}
            for n in (1, 4)]  # fmt: skip
    found = asked(lines(tmp_path / "dev.json", rows))
    assert [(q.id, q.answer) for q in found] == [("q1", 0), ("q4", 3)]
    (tmp_path / "dev.json").write_text(json.dumps(rows[0]) + "\n{\n")
    assert "dev.json:2: not JSON" in complaint(str(tmp_path / "dev.json"))


def test_a_part_in_any_case_or_empty(tmp_path):
    rows = ["question,A,B,answer,part", "Which?,x,y,A,", "Who?,x,y,B,Test", "Why?,x,y,B, TRAIN "]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    found = questions.load(str(tmp_path / "mine.csv"), shots=True)
    assert [q.question for q in found.questions] == ["Which?", "Who?"] and [q.question for q in found.pool] == ["Why?"]
    assert [q.question for q in asked(lines(tmp_path / "mine.jsonl", [{**OWN[0], "part": None}]))] == [
        OWN[0]["question"]
    ]


def test_rows_below_a_key(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"version": 1, "data": OWN}))
    assert [(q.id, q.answer) for q in asked(tmp_path / "mine.json")] == [("1", 1), ("2", 0)]


BARE = {"question": "Which pumps?", "options": ["Liver", "Heart", "Ear"]}
KEYED = {**BARE, "options": dict(zip("ABC", BARE["options"], strict=True))}
ANSWERS = {
    "from 0": {**BARE, "answer_index": 1},
    "from 0 in a text": {**BARE, "answer_index": "1"},
    "text and letter": {**BARE, "answer": "Heart", "answer_idx": "B"},
    "text and letter of MedQA": {**KEYED, "answer": "Heart", "answer_idx": "b"},
    "all three": {**BARE, "answer": "b", "answer_idx": "b", "answer_index": 1},
    # The letter tells which of the two an answer means that is one option's letter and another one's text.
    "a text that is a letter": {**BARE, "options": ["X", "A", "Y"], "answer": "A", "answer_idx": "B"},
    "of MMLU's form": {"subject": "s", "question": "Which?", "choices": BARE["options"], "answer": 1},
    "a subject and a letter": {"subject": "s", "question": "Which?", "choices": BARE["options"], "answer": "B"},
    "a number for an id": {**BARE, "id": 7, "answer": "B"},
}


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
def test_ways_to_name_the_right_option(tmp_path, row):
    assert [q.answer for q in asked(lines(tmp_path / "mine.jsonl", [row]))] == [1]


CONTRADICTIONS = {
    "MedQA": ({**KEYED, "answer": "Heart", "answer_idx": "A"}, "answer 'Heart' is option B, but answer_idx 'A' is"),
    "a list": ({**BARE, "answer": "Heart", "answer_idx": "A"}, "answer 'Heart' is option B, but answer_idx 'A' is"),
    "a position": (
        {**BARE, "answer": "B", "answer_index": 2},
        "answer 'B' is option B, but answer_index 2 is option C",
    ),
    "no option": (
        {**KEYED, "answer": "Hart", "answer_idx": "B"},
        "answer 'Hart' is not one of A, B, C and no option's",
    ),
    "a number": ({**BARE, "answer": 1}, "answer is 1, which may count from 0 or from 1: give the letter or the text"),
    "a digit": ({**BARE, "answer": "1"}, "answer is '1', which may count from 0 or from 1: give the letter or the"),
    "from 1": ({**BARE, "answer_index": 3}, "answer_index '3' is not one of 0, 1, 2; it counts from 0"),
    "two names": ({**BARE, "answer": "B", "Answer": "A"}, "two differ in case alone"),
    "number options": ({**BARE, "options": [1, 2], "answer": "B"}, "option 1 is no text: put it in quotes"),
}


@pytest.mark.parametrize(("row", "word"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_names_no_right_option_beyond_doubt_is_refused(tmp_path, row, word):
    text = complaint(lines(tmp_path / "mine.jsonl", [row]))
    assert "mine.jsonl:1: " in text and word in text


def test_medmcqa_counts_from_what_the_file_tells(tmp_path):
    row = {"question": "Which?", **dict(zip(("opa", "opb", "opc", "opd"), "pqrs", strict=True))}
    for given, found in (((0, 3), [0, 3]), ((1, 4), [0, 3])):
        rows = [{**row, "question": f"Which {cop}?", "cop": cop} for cop in given]
        assert [q.answer for q in asked(lines(tmp_path / "mine.jsonl", rows))] == found
    text = complaint(lines(tmp_path / "mine.jsonl", [{**row, "cop": 2}]))
    assert "mine.jsonl:1: cop is nowhere 0 or 4, so it may count from 0" in text
    assert [q.answer for q in asked(lines(tmp_path / "mine.jsonl", [{**row, "answer_index": 2}]))] == [2]
    assert "'0'" not in (text := complaint(lines(tmp_path / "mine.jsonl", [{**row, "cop": n} for n in (0, 4)])))
    assert "mine.jsonl:2: cop '4' is not one of 0, 1, 2, 3" in text


def test_a_question_with_two_answers_is_refused_and_one_that_stands_twice_is_not(tmp_path):
    row, again = {**BARE, "answer": "B"}, {**BARE, "question": " which  PUMPS?"}
    turned = {**again, "options": ["Heart", "Ear", "Liver"]}
    for same in (
        {**again, "answer": "Heart"},
        {**turned, "answer": "A"},
        {**again, "options": ["Ear", "Toe"], "answer": "A"},
    ):
        assert len(asked(lines(tmp_path / "mine.jsonl", [row, same]))) == 2
    for other in ({**again, "answer": "A"}, {**turned, "answer": "B"}, {**again, "answer": "C", "part": "train"}):
        text = complaint(lines(tmp_path / "mine.jsonl", [row, {**OWN[0], "id": "x"}, other]), shots=True)
        assert re.search(r"mine\.jsonl:3: the question and options of \S+mine\.jsonl:1 with another answer, '", text)


def test_a_published_question_with_two_answers_is_only_said(tmp_path, capsys):
    file = lines(tmp_path / "asked.jsonl", [{**BARE, "answer": "B"}, {**BARE, "answer": "A"}])
    digest = hashlib.sha256((tmp_path / "asked.jsonl").read_bytes()).hexdigest()
    (tmp_path / "mine.yaml").write_text(f"where: asked.jsonl\nsha256: {{asked.jsonl: {digest}}}\n")
    assert len(asked(tmp_path / "mine.yaml")) == 2 and "with another answer" in capsys.readouterr().out
    assert "with another answer" in complaint(file)


def test_worked_examples_are_not_sought_elsewhere_when_the_questions_lie_in_the_folder(tmp_path, monkeypatch):
    lines(tmp_path / "asked.jsonl", OWN)
    known = descriptions.Published(
        where=Location(folder="asked.jsonl", hub="who/what"), shots=Location(folder="shown.jsonl", hub="who/what")
    )
    monkeypatch.setattr(questions, "published", lambda given: known)
    text = complaint("mine", data_folder=str(tmp_path), shots=True)
    assert f"no file {tmp_path / 'shown.jsonl'}: data_folder={tmp_path} lacks it: put it there" in text
    lines(tmp_path / "shown.jsonl", [SHOWN])
    assert len(questions.load("mine", data_folder=str(tmp_path), shots=True).pool) == 1


def test_a_group_is_its_members(cli):
    nine = [f"mmlu_{subject}" for subject in sorted(MMLU)]
    assert descriptions.expanded(["pubmedqa", "mmlu", "mine.csv"]) == ["pubmedqa", *nine, "mine.csv"]
    code, _, err = cli("+recipe=smoke", "medical_qa.benchmarks=[mmlu,mmlu_anatomy]")
    assert code == 2 and "two benchmarks are called mmlu_anatomy (mmlu holds it): name it once" in err


def test_the_beginning_of_a_name_suggests_all_that_begin_so():
    assert "did you mean medqa_4options or medqa_5options" in complaint("MedQA")
    assert "did you mean mmlu?" in complaint("mmlu9")


README = (ROOT / "README.md").read_text("utf-8")


def first_cells(heading):
    """The names in code marks in the first column of the table below a line of the README."""
    table = README.split(heading)[1].split("\n\n")[1]
    return [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]


def test_the_readme_names_the_keys_of_a_description_and_of_a_place():
    assert sorted(first_cells("The keys of such a description")) == sorted(
        f.name for f in fields(descriptions.Published)
    )
    assert sorted(first_cells("The keys of a place")) == sorted(f.name for f in fields(Location))


class Watched(dict):
    """A row's values that note which columns were looked for."""

    def __init__(self, values, seen):
        super().__init__(values)
        self.seen = seen

    def get(self, key, default=None):
        self.seen.add(key)
        return super().get(key, default)

    def __contains__(self, key):
        self.seen.add(key)
        return super().__contains__(key)


def test_the_readme_names_the_columns_of_a_users_questions():
    seen = {"part"}
    for row in ({"question": "Which?", "a": "Liver", "b": "Heart", "answer": "b"}, {**BARE, "answer": "b"}):
        question_rows.READERS["own"](Row(Watched(row, seen), "", ""), 0)
    letters = {letter.lower() for letter in question_rows.LETTERS}
    assert letters <= seen
    assert seen - letters | {"A", "B"} == set(first_cells("The columns of your own questions"))


def test_rows_are_chosen_by_a_number_as_by_a_text(tmp_path):
    (tmp_path / "asked.csv").write_text("question,A,B,answer,Level\nWhich?,Liver,Heart,B,2\nWhy?,x,y,A,3\n")
    (tmp_path / "mine.yaml").write_text("where: asked.csv\nonly: {Level: 2}\n")
    assert [q.question for q in asked(tmp_path / "mine.yaml")] == ["Which?"]


BAD_DESCRIPTIONS = {
    "no place": ("style: cloze\n", "no `where`"),
    "a list": ("- a\n", "no `where`"),
    "no yaml": ("where: [\n", "not YAML"),
    "unknown key": ("where: asked.jsonl\nstile: cloze\n", "did you mean style"),
    "unknown style": ("where: asked.jsonl\nstyle: quiz\n", "style 'quiz' is not one of"),
    "unknown reader": ("where: asked.jsonl\nreader: quiz\n", "reader 'quiz' is not one of"),
    "unknown place": ("where: {path: asked.jsonl}\n", "where is {'path'"),
    "empty place": ("where: {hub_split: test}\n", "where names no place"),
    "no such file": ("where: other.jsonl\n", "no file"),
    "ids without a column": (
        "where: asked.jsonl\nids: bare.jsonl\n",
        "bare.jsonl:1: no column 'id'; there are: number",
    ),
    "only without a column": ("where: asked.jsonl\nonly: x\n", "only 'x' is not columns and values"),
    "a hash without a file": ("where: asked.jsonl\nsha256: x\n", "sha256 'x' is not files and hashes"),
    "two files": ("where: {file: [a.jsonl, b.jsonl]}\n", "where.file ['a.jsonl', 'b.jsonl'] is not one text"),
    "columns in a line": ("where: {file: asked.jsonl, columns: 'a,b'}\n", "where.columns 'a,b' is not a list of names"),
    "a folder without one": ("where: {folder: x.jsonl}\n", "x.jsonl lies below data_folder, which is unset"),
    "a count in quotes": ("where: asked.jsonl\ncount: '2'\n", "count '2' is not a whole number"),
    "a switch in words": ("where: asked.jsonl\nnormalise: often\n", "normalise 'often' is not true or false"),
    "wrong count": ("where: asked.jsonl\ncount: 3\n", "2 questions where 3 are expected"),
}


@pytest.mark.parametrize(("text", "word"), BAD_DESCRIPTIONS.values(), ids=BAD_DESCRIPTIONS)
def test_a_bad_description_is_named(tmp_path, text, word):
    lines(tmp_path / "asked.jsonl", OWN)
    lines(tmp_path / "bare.jsonl", [{"number": 1}])
    (tmp_path / "bad.yaml").write_text(text)
    assert word in complaint(str(tmp_path / "bad.yaml"))


def test_a_key_without_a_value_is_unset(tmp_path):
    lines(tmp_path / "asked.jsonl", OWN)
    (tmp_path / "mine.yaml").write_text("where: asked.jsonl\nonly: null\nreader: null\nsha256:\n")
    assert len(questions.load(str(tmp_path / "mine.yaml")).questions) == 2


def test_a_suffix_in_capitals_is_one(tmp_path):
    found = questions.load(lines(tmp_path / "Mine.JSONL", OWN))
    assert (found.name, len(found.questions)) == ("Mine", 2)


@pytest.mark.parametrize("keys", [(1, 2), (["A"], ["B"]), ("A", "A")], ids=["numbers", "lists", "one twice"])
def test_medqa_options_without_letters_are_named(tmp_path, keys):
    options = [{"key": key, "value": f"text {n}"} for n, key in enumerate(keys)]
    file = lines(tmp_path / "mine.jsonl", [{"question": "Which?", "options": options, "answer_idx": "C"}])
    assert "mine.jsonl:1: options is [{'key'" in complaint(file)


def test_pubmedqa_without_ids_is_numbered(tmp_path):
    row = {"QUESTION": "Is it?", "CONTEXTS": ["It is."], "final_decision": "yes"}
    rows = [row, {**row, "pubid": 0}, {**row, "id": None}]
    assert [q.id for q in questions.load(lines(tmp_path / "mine.jsonl", rows)).questions] == ["0000", "0", "0002"]


@pytest.mark.parametrize("row", [
    {"options": {"A": "Kidney", "B": "Ear"}, "answer": "Ear", "answer_idx": "B"},
    {"choices": ["Kidney", "Ear"], "subject": "anatomy", "answer_index": 1},
])  # fmt: skip
def test_what_an_official_form_lacks_is_kept_of_an_own_file(tmp_path, row):
    """Without these columns the same rows are read as MedQA's or MMLU's."""
    more = {"id": "case-7", "context": "A case.", "question": "Which?", "reference": "The ear hears."}
    (found,) = questions.load(lines(tmp_path / "mine.jsonl", [{**row, **more}])).questions
    assert (found.id, found.context, found.reference, found.answer) == ("case-7", "A case.", "The ear hears.", 1)


def test_a_number_is_no_answer_of_an_own_file_with_subjects(tmp_path):
    row = {"id": "x", "question": "Which?", "choices": ["Kidney", "Ear"], "subject": "anatomy", "answer": 1}
    with pytest.raises(UserError, match=r"mine.jsonl:1: .*answer_index"):
        questions.load(lines(tmp_path / "mine.jsonl", [row]))


def test_an_official_id_that_no_question_has_is_an_error(tmp_path):
    rows = [{"id": f"case-{n}", "question": f"{n}?", "options": ["Kidney", "Ear"], "answer": "A"} for n in (1, 2)]
    lines(tmp_path / "mine.jsonl", rows)
    lines(tmp_path / "ids.jsonl", [{"id": "case-1"}, {"id": "case-99"}])
    (tmp_path / "mine.yaml").write_text("where: {file: mine.jsonl}\nids: {file: ids.jsonl}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"ids.jsonl: id 'case-99' is no question's in .*mine.jsonl"):
        questions.load(str(tmp_path / "mine.yaml"))


BAD_FILES = {
    "a letter left out": (
        {"options": {"A": "Kidney", "B": "Ear", "D": "Eye"}, "answer": "D"},
        "mine.jsonl:2: options A, B, D where A, B, C are needed",
    ),
    "a letter twice": ({"options": {"A": "Kidney", "a": "Ear"}}, "mine.jsonl:2: options A, A where A, B are needed"),
    "numbers for letters": (
        {"options": {"1": "Kidney", "2": "Ear"}},
        "mine.jsonl:2: options 1, 2 where A, B are needed",
    ),
    "a column left out": (
        {"options": ..., "A": "Kidney", "C": "Ear", "answer": "C"},
        "columns A, C where A, B are needed",
    ),
    "columns without a text": ({"options": ..., "A": "", "B": " "}, "mine.jsonl:2: options []: give at least two"),
    "equal options": ({"options": ["Kidney", "Kidney ", "Ear"]}, "mine.jsonl:2: two options are equal"),
    "missing column": ({"question": ...}, "mine.jsonl:2: no column 'question'"),
    "answer outside the options": ({"answer": "C"}, "mine.jsonl:2: answer 'C' is not one of A, B"),
    "an id twice": ({"id": "1"}, "mine.jsonl:2: mine id '1' was used before, at"),
    "a letter that is another option's text": (
        {"options": ["A", "C", "D"], "answer": "C"},
        "mine.jsonl:2: answer 'C' is one option's letter and another one's text",
    ),
    "half a character": ({"options": ["Kidney", "\ud83d"]}, "mine.jsonl:2: half a character"),
    "empty option": ({"options": ["Kidney", ""]}, "mine.jsonl:2: an option is empty"),
    "one option": ({"options": ["Kidney"]}, "mine.jsonl:2: options ['Kidney']: give at least two"),
    "unknown part": ({"part": "exam"}, "mine.jsonl:2: part 'exam' is not one of"),
}


@pytest.mark.parametrize(("changes", "word"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_with_its_line(tmp_path, changes, word):
    row = {key: value for key, value in {**OWN[1], **changes}.items() if value is not ...}
    assert word in complaint(lines(tmp_path / "mine.jsonl", [OWN[0], row]))


def test_a_letter_is_looked_up_among_the_letters(tmp_path):
    row = {"question": "Which comes first?", "options": {"B": "beta", "A": "alpha"}, "answer": "A"}
    found = questions.load(lines(tmp_path / "mine.jsonl", [row])).questions[0]
    assert (found.options, found.answer) == (("alpha", "beta"), 0)


def test_questions_of_one_table_may_have_different_numbers_of_options(tmp_path):
    (tmp_path / "mine.csv").write_text("question,A,B,C,D,answer\nHow?,hot,cold,,,B\nWhy?,x,y,z,,C\nWho?,a,,c,,C\n")
    assert "mine.csv:4: columns A, C where A, B are needed" in complaint(str(tmp_path / "mine.csv"))
    (tmp_path / "mine.csv").write_text("question,A,B,C,D,answer\nHow?,hot,cold,,,B\nWhy?,x,y,z,,C\n")
    found = questions.load(str(tmp_path / "mine.csv")).questions
    assert [(q.options, q.answer) for q in found] == [(("hot", "cold"), 1), (("x", "y", "z"), 2)]


def test_a_style_that_asks_about_a_context_needs_one(tmp_path):
    (tmp_path / "bad.yaml").write_text("where: mine.jsonl\nstyle: pubmedqa\n")
    lines(tmp_path / "mine.jsonl", OWN)
    assert "bad 1: no context, and style pubmedqa asks about one" in complaint(str(tmp_path / "bad.yaml"))


def test_an_answer_that_is_letter_and_text_of_the_same_option_is_that_one(tmp_path):
    groups = {"question": "Which group gives only to its own?", "options": ["A", "B", "AB"], "answer": "B"}
    assert questions.load(lines(tmp_path / "mine.jsonl", [groups])).questions[0].answer == 1


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path):
    first = json.dumps(OWN[0]).encode()
    (tmp_path / "mine.jsonl").write_bytes(first + b'\n{"question": "Ast\xe9risque?"}\n')
    assert re.search(r"mine\.jsonl:2: not UTF-8", complaint(str(tmp_path / "mine.jsonl")))


@pytest.mark.parametrize("name", ["pooled", "pooled_above_chance", "mmlu"])
def test_a_benchmark_cannot_have_the_name_of_several_together(refused, tmp_path, name):
    file = lines(tmp_path / f"{name}.jsonl", OWN)
    said = refused("+recipe=smoke", f"medical_qa.benchmarks=[{file}]")
    assert f"a benchmark cannot be called {name}, as several together are: rename the file" in said


def test_questions_are_one_with_the_same_right_answer_or_the_same_options():
    def of(options, answer=0, text="Which of the following is correct?"):
        return set(question_rows.Question("", text, tuple(options.split()), answer).identities)

    four = of("a b c d")
    assert four & of("a b c d e") and four & of("d b c a", 3, " which OF the following is  correct?")
    assert four & of("a b c d", 1)  # two answers to one question
    assert not four & of("p q r s") and not four & of("b c d e") and not four & of("a b c d", text="Which is?")


def test_nothing_to_ask_is_said(tmp_path):
    assert "no question to ask" in complaint(lines(tmp_path / "mine.jsonl", [SHOWN]))


def test_a_file_that_is_not_the_published_one_is_marked(tmp_path, capsys):
    lines(tmp_path / "asked.jsonl", OWN)
    (tmp_path / "mine.yaml").write_text("where: asked.jsonl\nsha256: {asked.jsonl: 0}\n")
    found = questions.load(str(tmp_path / "mine.yaml"))
    assert found.describe()["as_published"] is False and "not the published file" in capsys.readouterr().out


def test_the_shipped_sets_bring_their_worked_examples():
    for name, count in (("medical_questions", 10), ("abstract_questions", 6)):
        found = questions.load(name, shots=True)
        assert len(found.pool) == count and found.as_published is None


MMLU = {"anatomy": 135, "clinical_knowledge": 265, "college_biology": 144, "college_medicine": 173, "virology": 166,
        "high_school_biology": 310, "medical_genetics": 100, "nutrition": 306, "professional_medicine": 272}  # fmt: skip


def test_the_nine_subjects_are_described():
    subjects = {name.removeprefix("mmlu_") for name in descriptions.names() if name.startswith("mmlu_")}
    assert subjects == set(MMLU)
    for subject, count in MMLU.items():
        known = descriptions.published(f"mmlu_{subject}")
        assert known.count == count and known.where.hub_name == known.shots.hub_name == subject
        assert known.description.endswith(f"about {subject.replace('_', ' ')}.")


@pytest.mark.parametrize(
    ("name", "count", "pool"), [("pubmedqa", 500, 500), *((f"mmlu_{s}", n, 5) for s, n in MMLU.items())]
)
def test_published_parts_are_whole(shared_data, name, count, pool):
    found = questions.load(name, data_folder=shared_data, shots=True)
    assert (len(found.questions), len(found.pool), found.as_published) == (count, pool, True)
    if name.startswith("mmlu"):
        assert found.shots(3, 0) == found.pool[:3] and found.first_shots
    else:
        assert all(q.reference for q in found.questions + found.pool)
        assert Counter(q.options[q.answer] for q in found.questions) == {"yes": 276, "no": 169, "maybe": 55}


def test_published_files_without_a_train_part_are_whole(shared_data):
    for name, count in (("medqa_4options", 1273), ("medmcqa", 4183)):
        found = questions.load(name, data_folder=shared_data)
        assert (len(found.questions), found.as_published) == (count, True)
        assert {len(q.options) for q in found.questions} == {4}


def test_a_csv_file_without_a_header_is_complained_of_as_such(tmp_path):
    file = tmp_path / "bare.csv"
    file.write_text(
        "Which organ pumps blood?,Liver,Heart,Ear,B\nWhich one hears?,Liver,Heart,Ear,C\n", encoding="utf-8"
    )
    line = complaint(str(file))
    assert "bare.csv:2: no column 'question'; there are: which organ pumps blood?" in line
    assert line.endswith("rename one, or put the names into a first line")


def test_named_columns_may_be_parted_by_semicolons_or_tabs(tmp_path):
    for mark in (",", ";", "\t"):
        rows = [["Which organ, of these, pumps blood?", "Liver", "Heart", "B"], ["Which one hears?", "Ear", "Toe", "A"]]
        with (tmp_path / "bare.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=mark).writerows(rows)
        named = tmp_path / "named.yaml"
        named.write_text("where: {file: bare.csv, columns: [question, A, B, answer]}\n", encoding="utf-8")
        assert [q.answer for q in questions.load(str(named)).questions] == [1, 0]
    # One row with as many commas is not what most rows are; nor is a row with a field too many.
    rows = "\nWhich, of, these, pumps blood?;Liver;Heart;B\nWhich one hears?;Ear;Toe;A\n"
    (tmp_path / "bare.csv").write_text(rows, encoding="utf-8")
    assert [q.answer for q in questions.load(str(named)).questions] == [1, 0]
    (tmp_path / "bare.csv").write_text(rows + "Which organ?;Liver;Heart;B;more\n", encoding="utf-8")
    assert "bare.csv:4: not the 4 fields of question, A, B, answer: check semicolons and quotes" in complaint(
        str(named)
    )


@pytest.mark.parametrize(
    ("name", "text"), [("mine.json", "[]"), ("mine.json", '{"data": []}'), ("mine.csv", "question,options,answer\n")]
)
def test_a_file_without_rows_is_told_as_that(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert complaint(str(tmp_path / name)).endswith(f"{name}: no row in it: give at least one")


def test_parquet_without_rows_is_told_as_that(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"question": pyarrow.array([], pyarrow.string())}), tmp_path / "mine.parquet")
    assert complaint(str(tmp_path / "mine.parquet")).endswith("mine.parquet: no row in it: give at least one")


def test_an_empty_list_beside_the_rows_takes_nothing_from_them(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"questions": OWN, "errors": []}), encoding="utf-8")
    assert len(questions.load(str(tmp_path / "mine.json")).questions) == 2


def test_yes_no_maybe_of_a_context_may_be_normalised(tmp_path):
    row = {"id": "1", "context": "We looked.", "question": "Does it?", "answer": "yes"}
    lines(tmp_path / "mine.jsonl", [row])
    (tmp_path / "mine.yaml").write_text("where: mine.jsonl\nnormalise: true\n", encoding="utf-8")
    assert questions.load(str(tmp_path / "mine.yaml")).normalise


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shots: rest", "shots rest is what ids leave, and there are no ids"),
        ("normalise: true", "normalise is for options scored by their text: set style to cloze"),
        ("{normalise: true, style: mmlu}", "normalise is for options scored by their text"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(tmp_path, line, said):
    lines(tmp_path / "mine.jsonl", OWN)
    keys = line.strip("{}").replace(", ", "\n")
    (tmp_path / "mine.yaml").write_text(f"where: mine.jsonl\n{keys}\n", encoding="utf-8")
    assert said in complaint(str(tmp_path / "mine.yaml"))
