# InternViT-6B-224px on a sixteenth of ADE20K's training images, all of it trained, linear head.
# Published: 46.5 mIoU.
_base_ = ["../_base_/linear.py"]
model = dict(backbone=dict(drop_path=0.4, checkpointing=True))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.95))
train_dataloader = dict(dataset=dict(type="FewShot", of="ADE20KDataset", images=20210 // 16))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=5000),
]
train_cfg = dict(max_iters=5000)
