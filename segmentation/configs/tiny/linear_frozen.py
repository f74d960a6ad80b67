# mini's backbone, frozen, linear head. Nothing published; docs/segmentation.md has what it reached.
_base_ = ["./upernet_frozen.py"]
model = dict(
    backbone=dict(taps=[2], pyramid=False),
    decode_head=dict(
        _delete_=True,
        type="BNLinearHead",
        in_channels=192,
        in_index=0,
        num_classes=8,
        dropout_ratio=0.0,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(optimizer=dict(lr=5e-3, weight_decay=0.0))
