"""The shipped recipes say what was published, and their models can be built."""

from typing import Any

import pytest
from polylens.segmentation.runs import SHIPPED, load_config, model_without_weights, shipped_configs

# ADE20K, mIoU of InternViT-6B-224px: InternVL (Chen et al., 2023), table 8 and its appendix.
PUBLISHED = {
    "linear_frozen": 47.2,
    "upernet_frozen": 54.9,
    "upernet_full": 58.9,
    "linear_fewshot_1of16": 46.5,
    "linear_fewshot_1of8": 50.0,
    "linear_fewshot_1of4": 53.3,
    "linear_fewshot_1of2": 55.8,
    "linear_fewshot_1of1": 57.2,
}
FOLDERS = {"intern_vit_6b_224px": 48, "intern_vit_6b_448px": 45, "intern_vit_300m_448px": 24}
# recipe -> iterations, warm-up, weight decay, layer decay, drop path
SCHEDULES = {
    "linear_frozen": (80000, 1500, 0.0, 1.0, 0.0),
    "upernet_frozen": (80000, 1500, 0.05, 1.0, 0.0),
    "upernet_full": (80000, 1500, 0.05, 0.95, 0.4),
    "linear_fewshot_1of16": (5000, 100, 0.05, 0.95, 0.4),
    "linear_fewshot_1of8": (10000, 200, 0.05, 0.95, 0.4),
    "linear_fewshot_1of4": (20000, 400, 0.05, 0.95, 0.4),
    "linear_fewshot_1of2": (40000, 800, 0.05, 0.95, 0.4),
    "linear_fewshot_1of1": (80000, 1500, 0.05, 0.95, 0.4),
}
SHARDED = {"upernet_full_fsdp", "upernet_full_deepspeed"}


def test_every_recipe_is_there_for_every_backbone() -> None:
    wanted = {f"{folder}/{recipe}" for folder in FOLDERS for recipe in PUBLISHED}
    sharded = {f"intern_vit_6b_224px/{name}" for name in SHARDED}
    tiny = {f"tiny/{name}" for name in ("linear_frozen", "upernet_frozen", "upernet_full")}
    assert set(shipped_configs()) == wanted | sharded | tiny


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("recipe", PUBLISHED)
def test_numbers(folder: str, recipe: str) -> None:
    text = (SHIPPED / folder / f"{recipe}.py").read_text()
    head = "".join(line for line in text.splitlines() if line.startswith("#"))
    assert f"{PUBLISHED[recipe]} mIoU" in head
    config = load_config(f"{folder}/{recipe}")
    warm_up, poly = config.param_scheduler
    settings = config.optim_wrapper
    assert (
        config.train_cfg.max_iters,
        warm_up.end,
        settings.optimizer.weight_decay,
        settings.paramwise_cfg.layer_decay,
        config.model.backbone.get("drop_path", 0.0),
    ) == SCHEDULES[recipe]
    assert (poly.begin, poly.end, poly.power, poly.eta_min) == (0, config.train_cfg.max_iters, 1.0, 0.0)
    assert settings.optimizer.lr == 4e-5
    assert config.model.backbone.get("frozen", False) == recipe.endswith("frozen")
    if "fewshot" in recipe:
        parts = int(recipe.rpartition("of")[2])
        assert config.train_dataloader.dataset.images == 20210 // parts
    check_taps(config.model, recipe, FOLDERS[folder])


def check_taps(model: Any, recipe: str, layers: int) -> None:
    taps = model.backbone.taps
    if "upernet" in recipe:
        assert taps[-1] == layers - 1
        assert model.auxiliary_head.in_index == (1 if recipe == "upernet_frozen" else 2)
        assert model.decode_head.channels == 1536
        if layers == 48:
            assert taps == [11, 23, 35, 47]
    else:
        assert taps == [44 if recipe == "linear_frozen" and layers == 48 else layers - 1]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("recipe", ["linear_frozen", "upernet_full"])
def test_the_full_sized_models_fit_together(folder: str, recipe: str) -> None:
    """On the meta device: every layer and head at the size of the published models, without their memory."""
    model = model_without_weights(load_config(f"{folder}/{recipe}"))
    billions = sum(parameter.numel() for parameter in model.backbone.vit.parameters()) / 1e9
    assert billions == pytest.approx({48: 5.9, 45: 5.54, 24: 0.304}[FOLDERS[folder]], rel=0.02)
