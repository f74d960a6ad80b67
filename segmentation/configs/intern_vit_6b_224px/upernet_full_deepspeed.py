# upernet_full.py under DeepSpeed's ZeRO-3 (pip install deepspeed): the same sharding as upernet_full_fsdp.py.
# Weights stay float32; the backbone computes in bfloat16 by itself, the heads in float32.
#   torchrun --nproc-per-node 8 -m polylens segment train \
#     intern_vit_6b_224px/upernet_full_deepspeed --launcher pytorch
# Published for the recipe: 58.9 mIoU; the original could not train it.
_base_ = ["./upernet_full.py"]
runner_type = "FlexibleRunner"
strategy = dict(
    type="DeepSpeedStrategy",
    zero_allow_untested_optimizer=True,
    zero_optimization=dict(
        stage=3,
        overlap_comm=True,
        contiguous_gradients=True,
        stage3_gather_16bit_weights_on_model_save=True,
    ),
)
optim_wrapper = dict(type="DeepSpeedOptimWrapper")
