# InternViT-6B-448px-V2_5 on ADE20K by the recipe of ../intern_vit_6b_224px/upernet_frozen.py.
# None published for this backbone; the 6B-224px reaches 54.9 mIoU.
# V1-2 and V1-5 are as large: --cfg-options model.backbone.pretrained=OpenGVLab/InternViT-6B-448px-V1-5
_base_ = ["../intern_vit_6b_224px/upernet_frozen.py"]
model = dict(
    backbone=dict(
        size="OpenGVLab/InternViT-6B-448px-V2_5",
        pretrained="OpenGVLab/InternViT-6B-448px-V2_5",
        taps=[10, 22, 33, 44],
    ),
)
