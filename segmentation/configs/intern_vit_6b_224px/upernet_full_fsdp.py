# upernet_full.py with weights, gradients and AdamW's state sharded over the GPUs by torch's FSDP, by layers.
# 16 bytes for each of 6 billion weights: 12 GB on each of 8 GPUs, and the activations of one layer at a time.
#   torchrun --nproc-per-node 8 -m polylens segment train \
#     intern_vit_6b_224px/upernet_full_fsdp --launcher pytorch
# Published for the recipe: 58.9 mIoU; the original could not train it.
_base_ = ["./upernet_full.py"]
runner_type = "FlexibleRunner"
strategy = dict(
    type="FSDPStrategy",
    model_wrapper=dict(
        type="MMFullyShardedDataParallel",
        auto_wrap_policy="polylens_layers",
        use_orig_params=True,
    ),
    # One file that every other command reads, gathered in the first process's memory.
    state_dict_cfg="full",
)
