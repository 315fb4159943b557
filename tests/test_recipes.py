"""Every recipe composes, and builds the libraries' own configurations."""

import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from medsafe_train.cli import register_recipes, strict
from medsafe_train.config import shipped
from medsafe_train.models.reference import ModelReference

RECIPES = sorted(file.stem for file in shipped("recipes").glob("*.yaml"))
LARGE = ["meditron7b", "meditron70b", "medalpaca7b", "medalpaca13b", "biomistral7b", "med42_8b", "openbiollm8b"]


def config_of(recipe, *overrides):
    GlobalHydra.instance().clear()
    register_recipes()
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        # Evaluation alone is of any model, so its recipe names none.
        named = ["model=tiny"] if recipe == "evaluate" else []
        return strict(compose("config", [f"+recipe={recipe}", *named, *overrides]))


def reference_of(model, device="cuda"):
    return ModelReference(
        model.path, "commit", model.path, model.prompt_format, model.system_prompt, model.eos_token,
        "bfloat16" if device == "cuda" else "float32", model.quantization.value, None, device,
    )  # fmt: skip


def test_the_recipes_are_there():
    assert {"quickstart", "smoke", "smollm2_medsafetybench", "smollm2_paper", "meditron7b_paper", *LARGE} <= set(
        RECIPES
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_composes_and_its_first_line_is_its_command(recipe):
    config = config_of(recipe)
    assert config.name == recipe
    first = (shipped("recipes") / f"{recipe}.yaml").read_text().splitlines()[0]
    assert re.match(rf"# python -m medsafe_train \+recipe={recipe}(\s|$)", first)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_holds_no_default(recipe):
    """A recipe says only what differs: taking away any one of its settings changes the configuration."""
    from omegaconf import OmegaConf

    from medsafe_train.config import Config

    def leaves(node, prefix=""):
        for key, value in node.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    text = OmegaConf.to_container(OmegaConf.load(shipped("recipes") / f"{recipe}.yaml"))
    text.pop("defaults")
    defaults = OmegaConf.structured(Config)
    same = [key for key, value in leaves(text) if OmegaConf.select(defaults, key) == value]
    assert same == []


@pytest.mark.parametrize("recipe", LARGE)
def test_large_recipes_build_the_libraries_configurations(recipe, tmp_path):
    from medsafe_train.models.load import quantization_config
    from medsafe_train.models.training import lora_config
    from medsafe_train.stages.finetune import sft_config
    from medsafe_train.stages.preference import dpo_config

    config = config_of(recipe)
    reference = reference_of(config.model)
    lora = lora_config(config.finetune)
    assert (lora.r, lora.lora_alpha, lora.target_modules) == (16, 32, "all-linear")
    # SFTConfig refuses bf16 where there is no GPU; everything else of it is built as it will be.
    sft = sft_config(config.finetune, reference_of(config.model, "cpu"), tmp_path, seed=3)
    assert sft.packing and sft.max_length == 1024 and sft.seed == sft.data_seed == 3
    assert sft.activation_checkpointing or sft.gradient_checkpointing
    assert sft.per_device_train_batch_size * sft.gradient_accumulation_steps == 16
    dpo = dpo_config(config.finetune, reference_of(config.model, "cpu"), tmp_path, seed=3)
    assert dpo.beta == 0.1 and dpo.max_length == 1024
    assert sft.report_to in ([], "none", ["none"])
    quantization = quantization_config(reference)
    if recipe in ("meditron70b", "medalpaca13b"):
        assert quantization.load_in_4bit and quantization.bnb_4bit_quant_type == "nf4"
        assert quantization.bnb_4bit_use_double_quant and "bfloat16" in str(quantization.bnb_4bit_compute_dtype)
    else:
        assert quantization is None


def test_the_papers_recipe_is_the_papers():
    """Han et al., NeurIPS 2024: LoRA r 8, alpha 16, dropout 0.05 on q and v, 3 epochs, 3e-4, batch 128, 256 tokens."""
    for recipe in ("smollm2_paper", "meditron7b_paper"):
        config = config_of(recipe)
        f = config.finetune
        assert (f.r, f.lora_alpha, f.lora_dropout, f.target_modules) == (8, 16, 0.05, ["q_proj", "v_proj"])
        assert (f.num_train_epochs, f.learning_rate, f.lr_scheduler_type, f.warmup_steps) == (3, 3e-4, "linear", 10)
        assert f.per_device_train_batch_size * f.gradient_accumulation_steps == 128 and f.max_length == 256
        assert f.train_on_prompt and config.demonstrations.teacher.name == "published"
        assert config.demonstrations.benign == config.demonstrations.replay == []
        # And nothing of ours.
        d, mix = config.demonstrations, f.mix
        assert not d.recovery and not d.drop_near_copies and not f.self_distillation and not f.packing
        assert (f.first_tokens_weight, f.scales, f.method.value) == (1.0, [1.0], "sft")
        assert (mix.safe, mix.benign, mix.replay, mix.recovery, mix.recovery_benign, mix.plain) == (1, 0, 0, 0, 0, 0)


def test_large_recipes_use_published_data():
    for recipe in LARGE:
        config = config_of(recipe)
        assert "medsafetybench" in config.demonstrations.harmful and "medsafetybench" in config.evaluation.harmful
        assert {"medqa_4options", "pubmedqa"} <= set(config.medical_qa.benchmarks)


def test_bf16_is_on_for_a_gpu_and_off_for_a_cpu(monkeypatch, tmp_path):
    import trl

    from medsafe_train.stages.finetune import sft_config

    monkeypatch.setattr(trl, "SFTConfig", lambda **given: given)
    config = config_of("meditron7b")
    assert sft_config(config.finetune, reference_of(config.model), tmp_path, 0)["bf16"] is True
    on_cpu = sft_config(config.finetune, reference_of(config.model, "cpu"), tmp_path, 0)
    assert on_cpu["bf16"] is False and on_cpu["use_cpu"] is True


def test_prompt_formats_of_the_models():
    formats = {recipe: config_of(recipe).model.prompt_format for recipe in LARGE}
    assert formats["meditron7b"] == formats["meditron70b"] == formats["medalpaca7b"] == "alpaca"
    assert formats["biomistral7b"] == "mistral" and formats["openbiollm8b"] == "llama3"
