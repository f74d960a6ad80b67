# InternViT-6B-224px on ADE20K, all of it trained, UperNet. Published: 58.9 mIoU.
# Float32 weights and AdamW need 96 GB: GPUs of 80 GB take upernet_full_fsdp or upernet_full_deepspeed.
_base_ = ["../_base_/upernet.py"]
model = dict(backbone=dict(drop_path=0.4, checkpointing=True))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.95))
