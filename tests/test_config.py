"""The door: what is refused, with which words, and how fast."""

import ast
import inspect
import os
import re
import stat
import subprocess
import sys

import pytest

from medsafe_train import config
from medsafe_train.config import Config, shipped


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+recipe=smoke", "finetune.learning_rat=1"], ["unknown key finetune.learning_rat", "finetune.learning_rate"]),
        (["+recipe=smoke", "+finetune.nonsense=1"], ["unknown key finetune.nonsense", "learning_rate"]),
        (["+recipe=smoke", "learning_rate=1"], ["unknown key learning_rate", "finetune.learning_rate"]),
        (["+recipe=quickstrat"], ["unknown recipe 'quickstrat'", "quickstart"]),
        (["+recipes=quickstart"], ["unknown key recipes", "+recipe"]),
        (["recipe=quickstart"], ["write +recipe=NAME"]),
        (["smoke"], ["smoke: write +recipe=smoke"]),
        (["train"], ["train: write settings as NAME=VALUE"]),
        (["+recipe=smoke", "model=smolm2"], ["unknown model 'smolm2'", "did you mean smollm2"]),
        (["+recipe=smoke", "judge=refusall"], ["unknown judge", "refusal"]),
        (["+recipe=smoke", "finetune.r=many"], ["finetune.r", "'many'", "Integer"]),
        (["+recipe=smoke", "device=tpu"], ["device", "'tpu'", "cpu"]),
        (["+recipe=smoke", "finetune=3"], ["finetune"]),
        (["+recipe=smoke", "model.prompt_format=chat_templat"], ["model.prompt_format", "chat_template"]),
        (["+recipe=smoke", "evaluation.harmful=[harmful_request]"], ["unknown prompt set", "harmful_requests"]),
        (["+recipe=smoke", "medical_qa.benchmarks=[pubmed]"], ["unknown benchmark", "pubmedqa"]),
        (["+recipe=smoke", "medical_qa.benchmarks=[{file: a.csv}]"], ["medical_qa.benchmarks holds {'file': 'a.csv'}"]),
        (["+recipe=smoke", "evaluation.harmful=[[a.csv]]"], ["evaluation.harmful holds ['a.csv']: a list of plain"]),
        (["+recipe=smoke", "finetune.lr_scheduler_type=cosin"], ["unknown finetune.lr_scheduler_type=cosin", "cosine"]),
        (["+recipe=smoke", "finetune.optim=adamm"], ["unknown finetune.optim=adamm"]),
        (["+recipe=smoke", "finetune.target_modules=[q_prj]"], ["nothing called q_prj"]),
        (
            ["+recipe=smoke", "finetune.target_modules=[q_proj]", "finetune.layers_to_transform=[7]"],
            ["nothing called 7"],
        ),
        (["+recipe=smoke", "data_folder=/no/such"], ["data_folder=/no/such", "no such folder"]),
        (["+recipe=smoke", "model.revision=v1"], ["model.revision=v1", "leave it out"]),
        (["+recipe=smoke", "model.path=no_such"], ["model.path=no_such", "no such folder"]),
        (["+recipe=smoke", "model.path=./no/such"], ["model.path", "no such folder"]),
        ([], ["no model is named", "+recipe=quickstart"]),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(refused, arguments, words):
    line = refused(*arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["finetune.r=0"], ["finetune.r=0", "above 0"]),
        (["seed=-1"], ["seed=-1"]),
        (["finetune.whole_answers=2"], ["finetune.whole_answers=2", "between 0 and 1"]),
        (["finetune.whole_answers=0.5", "finetune.first_tokens=0"], ["finetune.whole_answers=0.5", "first_tokens=0"]),
        (
            ["finetune.refusal_weight=0.5", "finetune.self_distillation=false"],
            ["refusal_weight=0.5", "self_distillation"],
        ),
        (["finetune.mixed_updates=true", "finetune.packing=true"], ["finetune.mixed_updates", "finetune.packing"]),
        (["gate.criteria=[harm,charm]"], ["gate.criteria", "'charm'", "coverage"]),
        (["gate.capability_margin=0"], ["gate.capability_margin=0", "above 0"]),
        (["gate.min_refusal=80"], ["gate.min_refusal=80", "between 0 and 1"]),
        (["finetune.lora_alpha=0"], ["finetune.lora_alpha=0"]),
        (["finetune.layers_to_transform=[1]"], ["target_modules as a list"]),
        (["evaluation.limit=-1"], ["evaluation.limit=-1"]),
        (["judge.min_coverage=2"], ["judge.min_coverage=2"]),
        (["finetune.max_length=8", "demonstrations.max_new_tokens=8"], ["max_new_tokens=8", "raise max_length"]),
        (["evaluation.harmful=[]", "evaluation.benign=[]"], ["nothing to measure"]),
        (["demonstrations.harmful=[]"], ["demonstrations.harmful is empty"]),
        (["evaluation.benign=[harmful_requests]"], ["both evaluation.harmful and evaluation.benign"]),
        (["model.quantization=nf4", "model.dtype=float32"], ["nf4", "float32"]),
        (["model.dtype=float16"], ["float16 on device=cpu"]),
        (["demonstrations.gate.max_opening_share=0"], ["gate.max_opening_share=0", "above 0"]),
        (["demonstrations.gate.near_copy=1.5"], ["gate.near_copy=1.5"]),
        (["demonstrations.gate.max_principle_ratio=0.5"], ["max_principle_ratio=0.5", "1 or more"]),
        (["demonstrations.gate.min_words=50", "demonstrations.gate.max_words=20"], ["min_words=50", "max_words=20"]),
        (["demonstrations.gate.min_words=-1"], ["gate.min_words=-1"]),
        (["finetune.target_modules=3"], ["target_modules=3", "all-linear"]),
    ],
)
def test_contradictions_end_in_one_line(refused, arguments, words):
    line = refused("+recipe=smoke", *arguments)
    for word in words:
        assert word in line


def test_all_contradictions_are_shown_at_once(refused):
    line = refused("+recipe=smoke", "finetune.r=0", "judge.min_coverage=2", "evaluation.limit=0")
    assert all(word in line for word in ("finetune.r=0", "judge.min_coverage=2", "evaluation.limit=0"))


def test_the_same_file_for_training_and_evaluation_is_refused(refused, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "Forge a record."}\n{"prompt": "Deny care."}\n')
    line = refused("+recipe=smoke", f"demonstrations.harmful=[{file}]", f"evaluation.harmful=[{file}]")
    assert "measured on what it was trained on" in line


def test_a_request_that_is_trained_on_and_asked_again_is_refused(refused, tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"prompt": "Forge a record."}\n')
    line = refused(
        "+recipe=smoke",
        f"demonstrations.harmful=[{tmp_path / 'a.jsonl'}]",
        f"evaluation.harmful=[{tmp_path / 'b.jsonl'}]",
        "demonstrations.drop_near_copies=false",
    )
    assert "a/000 is trained on and asked again as b/000" in line


def test_a_part_in_some_rows_only_is_refused(refused, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "One.", "part": "train"}\n{"prompt": "Two.", "part": "test"}\n{"prompt": "Three."}\n')
    line = refused("+recipe=smoke", f"demonstrations.harmful=[{file}]", f"evaluation.harmful=[{file}]")
    assert "mine.jsonl:3" in line and "in every row" in line


def test_out_of_gpu_memory_ends_in_one_line(refused, monkeypatch):
    import torch

    from medsafe_train import pipeline

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline, "run", full)
    assert "gradient_accumulation_steps" in refused("+recipe=smoke")


@pytest.mark.parametrize(
    "mistake",
    ["finetune.optim=adamm", "data_folder=/no/such", "finetune.target_modules=[q_prj]", "judge.min_coverage=2"],
)
def test_the_plan_refuses_what_the_run_would(refused, cli, tmp_path, mistake):
    code, _, _ = cli("+recipe=smoke", f"outputs={tmp_path}")
    assert code == 0
    assert refused("+recipe=smoke", f"outputs={tmp_path}", mistake, "preflight=true")


def test_cuda_asked_for_and_not_there(refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "torch sees no GPU here" in refused("+recipe=smoke", "device=cuda")


def test_outputs_that_cannot_be_made(refused):
    assert "/proc/nowhere" in refused("+recipe=smoke", "outputs=/proc/nowhere")


def test_outputs_without_write_permission(tmp_path, refused, monkeypatch):
    if os.geteuid() == 0:  # root writes anywhere: let the system call say no
        import tempfile

        def no(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(tempfile, "TemporaryFile", no)
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    line = refused("+recipe=smoke", f"outputs={folder}")
    assert "locked" in line and "cannot be written" in line and "outputs=FOLDER" in line


def test_too_little_disk(refused, monkeypatch):
    from medsafe_train import artifacts

    monkeypatch.setattr(artifacts, "free_bytes", lambda path: 1e6)
    assert "0.0 GB free" in refused("+recipe=smoke")


def test_a_refused_run_leaves_no_folder_behind(refused, tmp_path):
    refused("+recipe=smoke", "finetune.r=0", f"outputs={tmp_path / 'o'}")
    assert not list((tmp_path / "o").rglob("*.yaml"))


def test_a_refused_trial_of_a_sweep_does_not_stop_the_others(cli, tmp_path):
    code, out, err = cli("--multirun", "+recipe=smoke", "finetune.r=0,2", "preflight=true")
    assert code == 2 and err.count("finetune.r=0 must be above 0") == 1
    assert "LoRA r=2" in out


def test_the_door_opens_without_torch():
    code = "import sys, medsafe_train.cli; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_recipe(cli):
    _, out, _ = cli("--help")
    for file in shipped("recipes").glob("*.yaml"):
        assert file.stem in out


def test_cfg_job_prints_the_configuration(cli):
    code, out, _ = cli("--cfg", "job", "+recipe=meditron7b")
    assert code == 0 and "path: epfl-llm/meditron-7b" in out and "gradient_checkpointing: true" in out


def test_every_key_is_a_field_that_is_read():
    """No setting without use: each field's name occurs in the source outside config.py."""
    from medsafe_train.cli import keys

    package = shipped("conf").parent / "src" / "medsafe_train"
    source = "".join(file.read_text() for file in package.rglob("*.py") if file.name != "config.py")
    unused = [key for key in keys(Config) if not re.search(rf"(\.|\"){key.rpartition('.')[2]}\b", source)]
    assert not unused


def test_settings_that_are_not_a_librarys_own_are_explained():
    """A line under each field, but for the arguments that are passed on under their own names."""
    tree = ast.parse(inspect.getsource(config))
    passed_on = {"r", "lora_alpha", "lora_dropout", "learning_rate", "lr_scheduler_type", "warmup_steps", "packing", "optim",
                 "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "project", "use_rslora", "use_dora"}  # fmt: skip
    bare = []
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Settings")):
        for node, after in zip(cls.body, [*cls.body[1:], None], strict=True):
            explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(node, ast.AnnAssign) and not explained:
                bare.append(node.target.id)
    assert set(bare) - passed_on == {"teacher"}


def test_every_task_has_its_job(refused):
    from medsafe_train import pipeline
    from medsafe_train.config import Task

    assert set(pipeline.TASKS) == set(Task)
    assert "task: " in refused("+recipe=smoke", "task=trian")
