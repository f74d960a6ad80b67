"""One of two processes that train upernet_full_fsdp, scaled down, on a CPU. Arguments: DATA WORK WEIGHTS.

Prints how FSDP cut the model, and how much of it this process holds.
"""

import os
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from polylens.segmentation.runs import Options, connect_on_cpu, load_config, model_without_weights
from torch.distributed.fsdp import FullyShardedDataParallel

SIZE = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 56,
    "patch_size": 14,
}


def main(data: str, work: str, weights: str) -> None:
    config = load_config("tiny/upernet_full", Options(work_dir=work, launcher="pytorch"))
    sharded = load_config("intern_vit_6b_224px/upernet_full_fsdp")
    config.runner_type, config.strategy = sharded.runner_type, sharded.strategy
    config.strategy.model_wrapper.device_id = "cpu"
    for part in ("train", "val"):
        config[f"{part}_dataloader"].dataset.data_root = data
    config.train_dataloader.batch_size = 2
    config.train_dataloader.dataset.pipeline[2].scale = (224, 56)
    config.train_dataloader.dataset.pipeline[3].crop_size = (56, 56)
    config.model.data_preprocessor.size = config.model.test_cfg.crop_size = (56, 56)
    config.model.backbone.update(
        size=SIZE, pretrained=weights, image_size=56, taps=[0, 1, 2, 3], checkpointing=True
    )
    norm = {"type": "BN", "requires_grad": True}  # torch's SyncBN wants a GPU
    config.model.decode_head.update(in_channels=[64] * 4, channels=8, norm_cfg=norm)
    config.model.auxiliary_head.update(in_channels=64, channels=8, norm_cfg=norm)
    config.train_cfg.update(max_iters=2, val_interval=1000)
    config.default_hooks.checkpoint.update(interval=2, save_best=None)
    connect_on_cpu(config)
    whole = sum(parameter.numel() for parameter in model_without_weights(config).parameters())
    if is_main_process():
        Path(work).mkdir(exist_ok=True)
        config.dump(Path(work, "tiny.py"))
    runner = RUNNERS.build(config)
    runner.train()
    units = [module for module in runner.model.modules() if isinstance(module, FullyShardedDataParallel)]
    inner = sorted(type(unit.module).__name__ for unit in units)
    held = sum(parameter.numel() for parameter in runner.model.parameters())
    os.write(1, f"units {' '.join(inner)}; held {held} of {whole}\n".encode())  # at once: two processes write


if __name__ == "__main__":
    main(*sys.argv[1:])
