# BatchNorm and a linear map of each patch, on one tap of InternViT-6B-224px.
_base_ = ["./runtime.py", "./ade20k.py", "./schedule_80k.py"]
model = dict(
    backbone=dict(
        type="InternViT",
        size="OpenGVLab/InternViT-6B-224px",
        pretrained="OpenGVLab/InternViT-6B-224px",
        image_size=504,
        taps=[47],
        precision="bfloat16",
    ),
    decode_head=dict(
        type="BNLinearHead",
        in_channels=3200,
        in_index=0,
        num_classes=150,
        dropout_ratio=0.0,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
)
