# InternViT-6B-224px on ADE20K, all of it trained, UperNet. Published: 58.9 mIoU.
# Float32 weights and AdamW need 96 GB: on GPUs of 80 GB use upernet_full_fsdp.py or upernet_full_deepspeed.py.
_base_ = ["../_base_/upernet.py"]
model = dict(backbone=dict(drop_path=0.4, checkpointing=True))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.95))
