# InternViT-6B-224px on half of ADE20K's training images, all of it trained, linear head.
# Published: 55.8 mIoU.
_base_ = ["./linear_fewshot_1of16.py"]
train_dataloader = dict(dataset=dict(images=20210 // 2))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=800),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40000),
]
train_cfg = dict(max_iters=40000)
