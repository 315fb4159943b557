"""Prompt sets and benchmarks: what is read, and the one line a person gets for every kind of bad input."""

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medsafe_train.config import UserError
from medsafe_train.sources import descriptions, prompt_sets, question_rows, questions, read
from medsafe_train.sources.files import Row
from medsafe_train.sources.prompt_sets import Prompt, PromptSet
from medsafe_train.sources.read import Location


@pytest.fixture
def shared_data():
    """The published data sets beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data, the published data sets, is not beside this checkout")
    return str(folder)


def write(folder, name, content):
    """A file with exactly these bytes."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def complaint(call, *arguments):
    """The text of the UserError that a call ends in; one line, as the command line prints it."""
    with pytest.raises(UserError) as error:
        call(*arguments)
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text
    return text


def load_file(path, kind="harmful", part="test"):
    """A user's file as a prompt set."""
    return prompt_sets.load(str(path), kind, part)


# --- a user's file ----------------------------------------------------------------------------------------------------

BAD_FILES = {
    "empty": ("a.jsonl", "", ["a.jsonl", "empty"]),
    "only white space": ("a.csv", " \n\n", ["a.csv", "empty"]),
    "broken JSON line": ("a.jsonl", '{"prompt": "x"}\n\n{"prompt": \n', ["a.jsonl:3:", "not JSON"]),
    "JSONL line that is no object": ("a.jsonl", '{"prompt": "x"}\n"y"\n', ["a.jsonl:2:", "str", "object"]),
    "broken JSON": ("a.json", '[{"prompt": "x"},\n oops]', ["a.json", "not JSON", "line 2"]),
    "JSON array element that is no object": ("a.json", '[{"prompt": "x"}, 7]', ["a.json:item 2", "int", "object"]),
    "not UTF-8": ("a.jsonl", b'{"prompt": "x"}\n{"prompt": "na\xefve"}\n', ["a.jsonl:2:", "UTF-8"]),
    "CSV with too many fields": ("a.csv", "prompt,id\nx,1\ny,2,3\n", ["a.csv:3:", "fields", "header"]),
    "CSV with too few fields": ("a.csv", "prompt,id\nx,1\ny\n", ["a.csv:3:", "fields", "header"]),
    "CSV with an open quote": ("a.csv", 'prompt,id\n"x,1\n', ["a.csv:", "not CSV", "quotes"]),
    "no prompt column": ("a.csv", "question,id\nx,1\n", ["a.csv:2:", "'prompt'", "question, id"]),
    "no prompt column on one line": ("a.jsonl", '{"prompt": "x"}\n{"text": "y"}\n', ["a.jsonl:2:", "'prompt'", "text"]),
    "empty prompt": ("a.jsonl", '{"prompt": "x"}\n{"prompt": "  "}\n', ["a.jsonl:2:", "prompt", "empty"]),
    "prompt that is no text": ("a.jsonl", '{"prompt": 7}\n', ["a.jsonl:1:", "prompt is 7"]),
    "prompt that is null": ("a.jsonl", '{"prompt": null}\n', ["a.jsonl:1:", "prompt is None"]),
    "duplicate ids": (
        "a.jsonl",
        '{"id": "q", "prompt": "x"}\n{"id": "r", "prompt": "y"}\n{"id": "q", "prompt": "z"}\n',
        ["a.jsonl:3:", "'q'", "a.jsonl:1:"],
    ),
    "principle 12": ("a.csv", "prompt,principle\nx,1\ny,12\n", ["a.csv:3:", "'12'", "1 to 9"]),
    "principle 0": ("a.jsonl", '{"prompt": "x", "principle": 0}\n', ["a.jsonl:1:", "principle 0", "1 to 9"]),
    "principle in words": ("a.csv", "prompt,principle\nx,honesty\n", ["a.csv:2:", "'honesty'", "1 to 9"]),
    "no row of the part": ("a.csv", "prompt,part\nx,train\ny,train\n", ["a.csv", "part 'test'", "drop the column"]),
}


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_one_line_with_its_place(tmp_path, name, content, words):
    path = write(tmp_path, name, content)
    text = complaint(load_file, path)
    assert str(tmp_path) in text
    for word in words:
        assert word in text, text


def test_missing_file_is_named(tmp_path):
    text = complaint(load_file, tmp_path / "nowhere.jsonl")
    assert "no file" in text and str(tmp_path / "nowhere.jsonl") in text


def test_folder_in_place_of_a_file(tmp_path):
    assert "no file" in complaint(load_file, tmp_path)


def test_unknown_suffix_says_which_are_known(tmp_path):
    text = complaint(load_file, write(tmp_path, "a.txt", "x"))
    assert ".txt" in text and ".jsonl" in text and ".csv" in text


def test_lone_surrogate_is_refused_or_kept_but_no_traceback(tmp_path):
    """A JSON escape of half a character cannot be hashed or written; it has to be a UserError if it is anything."""
    path = write(tmp_path, "a.jsonl", '{"prompt": "x \\ud800 y"}\n')
    try:
        load_file(path).fingerprint()
    except UserError as error:
        assert "a.jsonl:1" in str(error)


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    for name, content in (("a.csv", "prompt\nx\n"), ("a.jsonl", '{"prompt": "x"}\n'), ("a.json", '[{"prompt": "x"}]')):
        path = write(tmp_path, name, b"\xef\xbb\xbf" + content.encode())
        assert [p.prompt for p in load_file(path).prompts] == ["x"]


def test_csv_fields_may_hold_quoted_newlines_commas_and_quotes(tmp_path):
    path = write(tmp_path, "a.csv", 'prompt,id\n"first line\nsecond, ""quoted""",one\nplain,two\n')
    found = load_file(path).prompts
    assert [(p.id, p.prompt) for p in found] == [("one", 'first line\nsecond, "quoted"'), ("two", "plain")]
    bad = write(tmp_path, "b.csv", 'prompt,id\n"first\nsecond",one\nplain\n')
    assert "b.csv:4:" in complaint(load_file, bad)


def test_windows_line_ends_are_read_like_others(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"prompt": "x"}\r\n{"prompt": "y"}\r\n')
    assert [p.prompt for p in load_file(path).prompts] == ["x", "y"]
    path = write(tmp_path, "a.csv", "prompt,id\r\nx,1\r\ny,2\r\n")
    assert [(p.prompt, p.id) for p in load_file(path).prompts] == [("x", "1"), ("y", "2")]


def test_line_separator_inside_a_prompt_ends_no_line(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"prompt": "x\u2028y"}\n{"prompt": "z"}\n')
    assert [p.prompt for p in load_file(path).prompts] == ["x\u2028y", "z"]


def test_file_fields_become_the_prompt(tmp_path):
    path = write(tmp_path, "mine.jsonl", '{"prompt": " x ", "principle": 3, "pair": "p"}\n{"prompt": "y"}\n')
    found = load_file(path, "benign")
    assert found.prompts == [Prompt("000", "x", 3, "p"), Prompt("001", "y", None, None)]
    assert (found.name, found.kind) == ("mine", "benign")
    assert found.sha256 == {"mine.jsonl": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_part_column_splits_a_file(tmp_path):
    path = write(tmp_path, "a.csv", "prompt,part\na,train\nb,Test\nc, TRAIN\n")
    assert [p.prompt for p in load_file(path, part="train").prompts] == ["a", "c"]
    assert [p.prompt for p in load_file(path, part="test").prompts] == ["b"]
    assert prompt_sets.has_parts(str(path))
    whole = write(tmp_path, "b.csv", "prompt\na\nb\n")
    assert len(load_file(whole, part="train").prompts) == len(load_file(whole, part="test").prompts) == 2
    assert not prompt_sets.has_parts(str(whole))


def test_fingerprint_follows_what_is_asked(tmp_path):
    content = ["prompt,id\nx,1\ny,2\n", "id,prompt\n1,x\n2,y\n", "prompt,id\nx,1\nz,2\n", "prompt,id\ny,2\nx,1\n"]
    marks = [load_file(write(tmp_path, f"{n}.csv", text)).fingerprint() for n, text in enumerate(content)]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


# --- names ------------------------------------------------------------------------------------------------------------


def test_unknown_prompt_set_names_the_nearest():
    text = complaint(prompt_sets.load, "medsafetybensh", "harmful", "test")
    assert "medsafetybensh" in text and "did you mean medsafetybench" in text
    text = complaint(prompt_sets.load, "zzz", "harmful", "test")
    assert all(name in text for name in prompt_sets.names()) and "`prompt` column" in text


def test_unknown_benchmark_names_the_nearest():
    text = complaint(questions.load, "pubmed_qa")
    assert "pubmed_qa" in text and "did you mean pubmedqa" in text
    text = complaint(questions.load, "zzz")
    assert all(name in text for name in descriptions.names())


@pytest.mark.parametrize(("name", "kind"), [("benign_twins", "harmful"), ("harmful_requests", "benign")])
def test_set_of_the_other_kind_is_refused(name, kind):
    text = complaint(prompt_sets.load, name, kind, "test")
    assert name in text and "harmful" in text and "benign" in text and "move it" in text


def test_part_that_a_set_lacks_is_refused():
    text = complaint(prompt_sets.load, "general_requests", "benign", "train")
    assert "no train part" in text and "test" in text


@pytest.mark.parametrize("name", ["harmful_requests", "benign_twins", "general_requests"])
def test_shipped_sets_load_without_a_network(name):
    known = prompt_sets.published(name)
    found = prompt_sets.load(name, known.kind, "test")
    assert found.prompts and found.licence == known.licence != "not stated"
    assert all(len(digest) == 64 for digest in found.sha256.values()) and found.sha256
    assert found.describe()["n"] == len(found.prompts)


def test_every_name_in_conf_is_readable():
    assert {"medsafetybench", "harmful_requests", "benign_twins"} <= set(prompt_sets.names())
    assert {"medqa_4options", "pubmedqa", "medical_questions", "abstract_questions"} <= set(descriptions.names())
    for name in prompt_sets.names():
        assert prompt_sets.published(name).kind in ("harmful", "benign")
    for name in descriptions.names():
        assert descriptions.published(name).reader in question_rows.READERS
        assert "not stated" not in (descriptions.published(name).licence, descriptions.published(name).citation)


# --- sets that are read from elsewhere ------------------------------------------------------------------------------


def hex_phi(tmp_path, first="How?"):
    """Ten files without a header, as HEx-PHI is reported to have them."""
    (tmp_path / "hex_phi").mkdir()
    for category in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11):
        rows = [f'"{first}, {category}"', *(f"Harm {category} {n}" for n in range(29))]
        write(tmp_path, f"hex_phi/category_{category}.csv", "\n".join(rows) + "\n")
    return str(tmp_path)


def test_hex_phi_has_no_header_and_ids_by_category(tmp_path):
    found = prompt_sets.load("hex_phi", "harmful", "test", hex_phi(tmp_path))
    assert len(found.prompts) == 300 and found.prompts[0].prompt == "How?, 1"
    assert found.prompts[0].id == "1-000" and found.prompts[-1].id == "11-029"


def test_hex_phi_with_a_header_is_refused(tmp_path):
    folder = hex_phi(tmp_path)
    path = tmp_path / "hex_phi" / "category_1.csv"
    path.write_text("prompt\n" + path.read_text("utf-8"), "utf-8")
    assert "301 requests where 300" in complaint(prompt_sets.load, "hex_phi", "harmful", "test", folder)


def test_files_of_the_hub_are_read_as_they_are(monkeypatch, tmp_path):
    import huggingface_hub

    hex_phi(tmp_path)
    asked = []

    def download(repo, name, repo_type, revision):
        asked.append((repo, repo_type, revision))
        return str(tmp_path / "hex_phi" / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = prompt_sets.load("hex_phi", "harmful", "test")
    assert len(found.prompts) == 300 and set(asked) == {("LLM-Tuning-Safety/HEx-PHI", "dataset", None)}
    assert "hub:LLM-Tuning-Safety/HEx-PHI/category_11.csv" in found.sha256 and len(found.sha256) == 10


def test_without_access_to_the_hub_the_next_step_is_said(monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise OSError("403: gated\nlong story")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    text = complaint(prompt_sets.load, "hex_phi", "harmful", "test")
    assert "HEx-PHI" in text and "gated" in text and "access" in text and "data_folder" in text and "story" not in text


def test_cares_is_parted_by_its_level_as_number_or_text(tmp_path):
    (tmp_path / "cares").mkdir()
    write(tmp_path, "cares/test.csv", "prompt,harmful_level,principle_index\na,0,7\nb,3,0\nc,2,1\nd,3,1\n")
    harmful = prompt_sets.load("cares_harmful", "harmful", "test", str(tmp_path)).prompts
    benign = prompt_sets.load("cares_benign", "benign", "test", str(tmp_path)).prompts
    assert [p.prompt for p in harmful] == ["b", "d"] and [p.prompt for p in benign] == ["a"]
    assert {p.principle for p in harmful} == {None}  # its eight principles are not the nine of the AMA


@pytest.mark.parametrize(
    ("name", "kind"), [("or_bench_hard", "benign"), ("or_bench_toxic", "harmful"), ("cares_harmful", "harmful")]
)
def test_sets_of_the_hub_name_their_place(monkeypatch, name, kind):
    import datasets

    asked = []

    def load_dataset(*where, **more):
        asked.append((*where, more["split"]))
        return [{"prompt": "x", "harmful_level": 3, "category": "c"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = prompt_sets.load(name, kind, "test")
    assert [p.prompt for p in found.prompts] == ["x"] and found.licence != "not stated" != found.citation
    assert asked[0][0] in ("bench-llm/or-bench", "HFXM/CARES-18K") and asked[0][-1] in ("train", "test")


def test_the_halves_of_xstest_are_of_opposite_kind(tmp_path):
    (tmp_path / "xstest").mkdir()
    rows = [f"{n},p{n},{'safe' if n < 250 else 'unsafe'}" for n in range(450)]
    write(tmp_path, "xstest/xstest_prompts.csv", "\n".join(["id,prompt,label", *rows]) + "\n")
    safe = prompt_sets.load("xstest_safe", "benign", "test", str(tmp_path)).prompts
    unsafe = prompt_sets.load("xstest_unsafe", "harmful", "test", str(tmp_path)).prompts
    assert len(safe) == 250 and len(unsafe) == 200 and not {p.id for p in safe} & {p.id for p in unsafe}


# --- expand, limited --------------------------------------------------------------------------------------------------


def test_expand_braces():
    assert read.expand("plain.csv") == ["plain.csv"]
    assert read.expand("a{1..3}.csv") == ["a1.csv", "a2.csv", "a3.csv"]
    assert read.expand("{x,y}/{1..2}") == ["x/1", "x/2", "y/1", "y/2"]
    assert read.expand("{9..11}") == ["9", "10", "11"]


def a_set(principles):
    """A prompt set with these principles in this order."""
    return PromptSet("s", "harmful", [Prompt(f"{n:03d}", f"ask {n}", p) for n, p in enumerate(principles)], {"f": "0"})


def test_limited_takes_each_principle_in_turn():
    whole = a_set([1] * 50 + [2] * 20 + [3] * 5)
    found = prompt_sets.limited(whole, 30)
    assert Counter(p.principle for p in found.prompts) == {1: 13, 2: 12, 3: 5}
    assert Counter(p.principle for p in prompt_sets.limited(whole, 9).prompts) == {1: 3, 2: 3, 3: 3}
    assert Counter(p.principle for p in prompt_sets.limited(whole, 2).prompts) == {1: 1, 2: 1}


def test_limited_keeps_the_order_and_the_rest():
    whole = a_set([3] * 10 + [1] * 10 + [2] * 10 + [None] * 10)
    found = prompt_sets.limited(whole, 10)
    ids = [p.id for p in found.prompts]
    assert ids == sorted(ids) and len(ids) == 10
    assert (found.name, found.kind, found.sha256) == (whole.name, whole.kind, whole.sha256)
    assert len(whole.prompts) == 40
    for n in (None, 40, 41):
        assert prompt_sets.limited(whole, n) == whole
    # A smaller limit asks a part of what a larger one asks: a longer run goes on from a shorter one.
    assert set(p.id for p in prompt_sets.limited(whole, 7).prompts) <= set(ids)


# --- fetch, locate ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A loopback HTTP server with an address `url` and a list of the paths that were `asked`."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path.startswith("/there"):
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"body")
            elif self.path.startswith("/cut"):
                self.send_response(200)
                self.send_header("Content-Length", "400")
                self.end_headers()
                self.wfile.write(b"only a part")
            else:
                self.send_error(404)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    running.asked = asked
    running.url = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def files_below(folder):
    """All files below a folder, none when it is not there."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_fetch_downloads_once(server, tmp_path):
    address = f"{server.url}/there/rows.csv"
    first = read.fetch(address)
    assert first.read_bytes() == b"body" and first == read.cached(address)
    assert first.name.endswith("rows.csv")
    second = read.fetch(address)
    assert second == first and server.asked == ["/there/rows.csv"]
    assert files_below(tmp_path / "cache") == [first]


def test_files_of_one_name_at_two_addresses_are_kept_apart(server):
    one, two = (read.fetch(f"{server.url}/there/{folder}/rows.csv") for folder in "ab")
    assert one != two and len(server.asked) == 2


def test_fetch_404_is_an_error_and_nothing_is_cached(server, tmp_path):
    address = f"{server.url}/gone.csv"
    for _ in range(2):
        text = complaint(read.fetch, address)
        assert address in text and "Not Found" in text and "data_folder" in text
    assert files_below(tmp_path / "cache") == []
    assert server.asked == ["/gone.csv", "/gone.csv"]


def test_fetch_of_a_cut_answer_is_an_error_and_nothing_is_cached(server, tmp_path):
    assert "cannot download" in complaint(read.fetch, f"{server.url}/cut.csv")
    assert files_below(tmp_path / "cache") == []


def test_fetch_without_a_server_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    text = complaint(read.fetch, "http://127.0.0.1:1/rows.csv")
    assert "cannot download" in text and "network" in text and "data_folder" in text


def test_fetch_into_an_unwritable_cache_is_an_error(server, monkeypatch, tmp_path):
    """The cache's place is taken by a file: no folder can be made there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(write(tmp_path, "taken", "x")))
    assert "taken" in complaint(read.fetch, f"{server.url}/there/rows.csv")


def test_locate_prefers_folder_then_url_then_hub(tmp_path):
    everything = Location(folder="set/{a,b}.csv", url="https://example.org/{a,b}.csv", hub="who/what")
    urls = ["https://example.org/a.csv", "https://example.org/b.csv"]
    assert read.locate(everything, None) == urls
    assert read.locate(everything, str(tmp_path)) == urls  # none of the files there: published elsewhere
    (tmp_path / "set").mkdir()
    files = [str(write(tmp_path, f"set/{name}.csv", "prompt\nx\n")) for name in "ab"]
    assert read.locate(everything, str(tmp_path)) == files
    assert read.locate(Location(folder="other.csv", hub="who/what"), str(tmp_path)) == ["hub:who/what"]


def test_locate_refuses_a_folder_that_holds_a_part_of_the_files(tmp_path):
    (tmp_path / "set").mkdir()
    write(tmp_path, "set/a.csv", "prompt\nx\n")
    text = complaint(read.locate, Location(folder="set/{a,b}.csv", url="https://example.org/{a,b}.csv"), str(tmp_path))
    assert str(tmp_path / "set" / "b.csv") in text and "data_folder" in text


def test_locate_refuses_a_folder_without_the_file_where_nothing_else_is_given(tmp_path):
    assert "data_folder" in complaint(read.locate, Location(folder="set/a.csv"), str(tmp_path))


def test_medsafetybench_with_a_file_missing_is_refused(tmp_path):
    folder = tmp_path / "medsafetybench" / "test" / "gpt4"
    folder.mkdir(parents=True)
    name = "med_safety_demonstrations_category_1.csv"
    write(folder, name, "harmful_medical_request,safe_response\nx,y\n")
    text = complaint(prompt_sets.load, "medsafetybench", "harmful", "test", str(tmp_path))
    assert "category_2.csv" in text and "data_folder" in text


def test_medsafetybench_with_a_row_missing_is_refused(tmp_path):
    for author in ("gpt4", "llama2"):
        folder = tmp_path / "medsafetybench" / "test" / author
        folder.mkdir(parents=True)
        for n in range(1, 10):
            write(folder, f"med_safety_demonstrations_category_{n}.csv", "harmful_medical_request,safe_response\nx,y\n")
    text = complaint(prompt_sets.load, "medsafetybench", "harmful", "test", str(tmp_path))
    assert "18 requests where 900" in text


# --- benchmarks with bad rows -----------------------------------------------------------------------------------------

SHIPPED = {"id": "m1", "part": "test", "question": "Which?", "options": ["a", "b", "c", "d"], "answer": "B"}
ABSTRACT = {"id": "a1", "part": "test", "abstract": "Text.", "question": "Does it?", "answer": "yes"}
MEDQA = {"question": "Which?", "options": {"A": "a", "B": "b", "C": "c", "D": "d"}, "answer_idx": "C"}
MEDQA_HUB = {"id": "x", "sent1": "Which?", "ending0": "a", "ending1": "b", "ending2": "c", "ending3": "d", "label": 2}
MEDMCQA = {"problem_id": "q", "problem_text": "Which?", "choices": ["p", "q", "r", "s"], "answer": ["d"]}
MEDMCQA_HUB = {"id": "h", "question": "Which?", "opa": "p", "opb": "q", "opc": "r", "opd": "s", "cop": 1}
MMLU = {"subject": "anatomy", "question": "Which?", "choices": ["p", "q", "r", "s"], "answer": "3"}
MEDQA_PARQUET = {"question": "Which?", "options": [{"key": k, "value": k.lower()} for k in "ABCDE"], "answer_idx": "E"}
LETTERED = {"question": "Which?", "A": "p", "B": "q", "C": "r", "answer": "r"}
PUBMEDQA = {"id": "7", "QUESTION": "Does it?", "CONTEXTS": ["One.", "Two."], "final_decision": "no"}


def ask(reader, row, **changes):
    """A row, with some fields changed or (`...`) taken out, through a reader."""
    values = {key: value for key, value in {**row, **changes}.items() if value is not ...}
    rows = [Row(values, "file.jsonl:5", "file.jsonl"), Row({"cop": 0}, "file.jsonl:6", "file.jsonl")]
    return question_rows.READERS[reader](question_rows.prepared(rows)[0], 4)


@pytest.mark.parametrize(
    ("reader", "row", "answer", "options"),
    [
        ("own", SHIPPED, 1, 4),
        ("own", ABSTRACT, 0, 3),
        ("medqa", MEDQA, 2, 4),
        ("medqa", MEDQA_HUB, 2, 4),
        ("pubmedqa", PUBMEDQA, 1, 3),
        ("medqa", MEDQA_PARQUET, 4, 5),
        ("medmcqa", MEDMCQA, 3, 4),
        ("medmcqa", MEDMCQA_HUB, 1, 4),
        ("mmlu", MMLU, 3, 4),
        ("own", LETTERED, 2, 3),
    ],
)
def test_good_row(reader, row, answer, options):
    found = ask(reader, row)
    assert found.answer == answer and len(found.options) == options and found.question in ("Which?", "Does it?")
    assert question_rows.detect(question_rows.prepared([Row(row, "", ""), Row({"cop": 0}, "", "")])[0]) == reader


def test_contexts_are_joined_in_order():
    assert ask("pubmedqa", PUBMEDQA).context == "One.\nTwo."
    hub = {"pubid": 7, "question": "Does it?", "context": {"contexts": ["One."]}, "final_decision": "maybe"}
    assert (ask("pubmedqa", hub).id, ask("pubmedqa", hub).context) == ("7", "One.")


BAD_ROWS = {
    "answer outside the options": ("own", SHIPPED, {"answer": "E"}, "'E'"),
    "answer outside fewer options": ("own", SHIPPED, {"options": ["a", "b"], "answer": "C"}, "A, B"),
    "answer that two options are": ("own", SHIPPED, {"options": ["up", "up"], "answer": "up"}, "'up'"),
    "half a context": ("own", SHIPPED, {"context": ""}, "context is ''"),
    "answer of two letters": ("own", SHIPPED, {"answer": "AB"}, "'AB'"),
    "answer as a number": ("own", SHIPPED, {"answer": 1}, "answer is 1"),
    "no answer": ("own", SHIPPED, {"answer": ...}, "'answer'"),
    "empty option": ("own", SHIPPED, {"options": ["a", " ", "c", "d"]}, "option is empty"),
    "one option": ("own", SHIPPED, {"options": ["a"], "answer": "A"}, "at least two"),
    "options as text": ("own", SHIPPED, {"options": "abcd"}, "'abcd'"),
    "more options than letters": ("own", SHIPPED, {"options": list("abcdefghijk"), "answer": "F"}, "at most 10"),
    "no options": ("own", SHIPPED, {"options": ...}, "options"),
    "no question": ("own", SHIPPED, {"question": ...}, "'question'"),
    "empty question": ("own", SHIPPED, {"question": ""}, "question is ''"),
    "empty id": ("own", SHIPPED, {"id": " "}, "id is"),
    "abstract missing": ("own", ABSTRACT, {"abstract": ...}, "'abstract'"),
    "answer no yes/no/maybe": ("own", ABSTRACT, {"answer": "perhaps"}, "'perhaps'"),
    "medqa answer": ("medqa", MEDQA, {"answer_idx": "Z"}, "'Z'"),
    "medqa options as a list": ("medqa", MEDQA, {"options": ["a", "b"]}, "object of letters"),
    "medqa without options": ("medqa", MEDQA, {"options": ...}, "object of letters"),
    "medqa one option": ("medqa", MEDQA, {"options": {"A": "a"}, "answer_idx": "A"}, "at least two"),
    "medqa empty option": ("medqa", MEDQA, {"options": {"A": "a", "B": ""}, "answer_idx": "A"}, "option is empty"),
    "medqa hub ending missing": ("medqa", MEDQA_HUB, {"ending3": ...}, "option is empty"),
    "medqa hub label missing": ("medqa", MEDQA_HUB, {"label": ...}, "label"),
    "medqa hub label outside": ("medqa", MEDQA_HUB, {"label": 7}, "label"),
    "medqa hub label in words": ("medqa", MEDQA_HUB, {"label": "third"}, "label"),
    "pubmedqa without contexts": ("pubmedqa", PUBMEDQA, {"CONTEXTS": ...}, "CONTEXTS"),
    "pubmedqa context as text": ("pubmedqa", PUBMEDQA, {"CONTEXTS": ..., "context": "Text."}, "CONTEXTS"),
    "pubmedqa decision": ("pubmedqa", PUBMEDQA, {"final_decision": "Yes!"}, "'Yes!'"),
    "medqa without answer": ("medqa", MEDQA, {"answer_idx": ...}, "'answer_idx'"),
    "pubmedqa contexts of numbers": ("pubmedqa", PUBMEDQA, {"CONTEXTS": [1]}, "CONTEXTS"),
    "medmcqa answer": ("medmcqa", MEDMCQA, {"answer": ["e"]}, "['e']"),
    "medmcqa two answers": ("medmcqa", MEDMCQA, {"answer": ["a", "b"]}, "['a', 'b']"),
    "medmcqa one choice": ("medmcqa", MEDMCQA, {"choices": ["p"]}, "at least two"),
    "medmcqa counted from 1": ("medmcqa", MEDMCQA_HUB, {"cop": 4}, "count from 1"),
    "medmcqa option missing": ("medmcqa", MEDMCQA_HUB, {"opc": ...}, "option is empty"),
    "mmlu answer": ("mmlu", MMLU, {"answer": "4"}, "'4'"),
    "mmlu answer as a letter": ("mmlu", MMLU, {"answer": "A"}, "'A'"),
    "mmlu without choices": ("mmlu", MMLU, {"choices": ...}, "at least two"),
    "pubmedqa decision missing": ("pubmedqa", PUBMEDQA, {"final_decision": ...}, "final_decision"),
}


@pytest.mark.parametrize(("reader", "row", "changes", "word"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_named_with_its_place(reader, row, changes, word):
    text = complaint(lambda: ask(reader, row, **changes))
    assert "file.jsonl:5" in text and word in text, text


def benchmark(monkeypatch, tmp_path, reader, rows, **known):
    """Load rows as the benchmark `mine`."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    write(folder, "mine.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    published = descriptions.Published(reader=reader, style="cloze", where=Location(folder="mine.jsonl"), **known)
    monkeypatch.setattr(questions, "published", lambda given: published)
    return questions.load("mine", data_folder=str(folder))


def test_benchmark_duplicate_ids_name_both_places(monkeypatch, tmp_path):
    rows = [SHIPPED, {**SHIPPED, "id": "m2"}, {**SHIPPED, "question": "Other?"}]
    text = complaint(lambda: benchmark(monkeypatch, tmp_path, "own", rows))
    assert "mine.jsonl:3" in text and "mine.jsonl:1" in text and "'m1'" in text


def test_benchmark_bad_row_through_load_has_its_line(monkeypatch, tmp_path):
    rows = [SHIPPED, {**SHIPPED, "id": "m2", "answer": "E"}]
    text = complaint(lambda: benchmark(monkeypatch, tmp_path, "own", rows))
    assert "mine.jsonl:2" in text and "'E'" in text


def test_benchmark_count_is_checked(monkeypatch, tmp_path):
    text = complaint(lambda: benchmark(monkeypatch, tmp_path, "own", [SHIPPED], count=3))
    assert "1 questions where 3 are expected" in text


def test_benchmark_worked_examples_are_not_asked(monkeypatch, tmp_path):
    rows = [{**SHIPPED, "part": "shots", "question": "Shown?"}, {**SHIPPED, "id": "m2"}]
    assert [q.id for q in benchmark(monkeypatch, tmp_path, "own", rows).questions] == ["m2"]


def test_benchmark_limit_takes_the_first():
    whole, some = questions.load("medical_questions"), questions.load("medical_questions", 7)
    assert some.questions == whole.questions[:7]
    assert some.fingerprint() != whole.fingerprint()


def test_official_ids_choose_the_rows(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "ids.json", '{"7": "no", "9": "yes"}')
    rows = [{**PUBMEDQA, "id": id} for id in ("7", "8", "9")]
    found = benchmark(monkeypatch, tmp_path, "pubmedqa", rows, ids=Location(folder="ids.json"))
    assert [q.id for q in found.questions] == ["7", "9"]
    assert len(found.sha256) == 2


# --- the published data sets, where they are --------------------------------------------------------------------------

LLAMA2 = (59, 57, 31, 56, 50, 24, 61, 64, 48)


@pytest.mark.parametrize("part", ["train", "test"])
def test_medsafetybench_is_whole(shared_data, part):
    found = prompt_sets.load("medsafetybench", "harmful", part, shared_data).prompts
    assert len(found) == len({p.id for p in found}) == 900
    counts = Counter((p.id.split("-")[0], p.principle) for p in found)
    assert {n: counts["gpt4", n] for n in range(1, 10)} == dict.fromkeys(range(1, 10), 50)
    assert tuple(counts["llama2", n] for n in range(1, 10)) == LLAMA2


def test_medsafetybench_parts_are_different_requests(shared_data):
    train, test = (
        {p.prompt for p in prompt_sets.load("medsafetybench", "harmful", part, shared_data).prompts}
        for part in ("train", "test")
    )
    assert len(train & test) < 10


def test_medqa_is_whole(shared_data):
    found = questions.load("medqa_4options", data_folder=shared_data).questions
    assert len(found) == len({q.id for q in found}) == 1273
    lines = (Path(shared_data) / "medqa" / "phrases_no_exclude_test.jsonl").read_text("utf-8").splitlines()
    for question, line in zip(found, lines, strict=True):
        row = json.loads(line)
        assert question.options[question.answer] == row["answer"] and len(question.options) == 4


def test_pubmedqa_is_exactly_the_official_test(shared_data):
    found = questions.load("pubmedqa", data_folder=shared_data).questions
    truth = json.loads((Path(shared_data) / "pubmedqa" / "test_ground_truth.json").read_text("utf-8"))
    assert len(found) == len(truth) == 500
    assert {q.id: q.options[q.answer] for q in found} == truth
    assert all(q.context for q in found)


def test_a_pair_is_left_out_whole():
    from medsafe_train.preflight.data import _with_twins

    harmful = PromptSet("bad", "harmful", [Prompt("1", "Forge it.", pair="a"), Prompt("2", "Deny it.", pair="b")], {})
    benign = PromptSet("good", "benign", [Prompt("1", "Sign it.", pair="b"), Prompt("2", "File it.", pair="a")], {})
    assert _with_twins({"bad/1", "far/9"}, [harmful, benign]) == {"bad/1", "good/2", "far/9"}
