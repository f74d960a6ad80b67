# InternViT-6B-224px on ADE20K, frozen, linear head on layer 44. Published: 47.2 mIoU.
_base_ = ["../_base_/linear.py"]
model = dict(backbone=dict(taps=[44], frozen=True))
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
