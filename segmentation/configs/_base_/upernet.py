# UperNet on the four-level pyramid of InternViT-6B-224px, with an auxiliary FCN.
_base_ = ["./runtime.py", "./ade20k.py", "./schedule_80k.py"]
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(
        type="InternViT",
        size="OpenGVLab/InternViT-6B-224px",
        pretrained="OpenGVLab/InternViT-6B-224px",
        image_size=504,
        taps=[11, 23, 35, 47],
        pyramid=True,
        precision="bfloat16",
    ),
    decode_head=dict(
        type="UPerHead",
        in_channels=[3200, 3200, 3200, 3200],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=1536,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=3200,
        in_index=2,
        channels=1536,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4),
    ),
)
