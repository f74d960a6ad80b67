# InternViT-300M-448px-V2_5 on ADE20K by the recipe of ../intern_vit_6b_224px/linear_fewshot_1of4.py.
# None published for this backbone; the 6B-224px reaches 53.3 mIoU.
_base_ = ["../intern_vit_6b_224px/linear_fewshot_1of4.py"]
model = dict(
    backbone=dict(
        size="OpenGVLab/InternViT-300M-448px-V2_5",
        pretrained="OpenGVLab/InternViT-300M-448px-V2_5",
        taps=[23],
    ),
    decode_head=dict(in_channels=1024),
)
