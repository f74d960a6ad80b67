# InternViT-6B-224px on ADE20K, frozen, UperNet; the auxiliary head is on the second tap.
# Published: 54.9 mIoU.
_base_ = ["../_base_/upernet.py"]
model = dict(backbone=dict(frozen=True), auxiliary_head=dict(in_index=1))
