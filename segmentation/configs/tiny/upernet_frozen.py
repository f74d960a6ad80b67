# mini's backbone (2.7 million weights, in the package), frozen, UperNet: minutes on a CPU.
#   polylens segment draw data/drawn
# Nothing published; docs/segmentation.md has what it reached.
_base_ = ["../_base_/upernet.py"]
crop_size = (112, 112)
classes = ("stripes", "checks", "dots", "plain", "disc", "square", "triangle", "ring")
palette = [
    [120, 120, 120],
    [180, 120, 120],
    [6, 230, 230],
    [80, 50, 50],
    [4, 200, 3],
    [204, 5, 255],
    [235, 255, 7],
    [255, 6, 82],
]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(448, 112), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeToPatches", scale=(448, 112), shorter=112, multiple=14),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
drawn = dict(
    _delete_=True,
    type="BaseSegDataset",
    data_root="data/drawn",
    metainfo=dict(classes=classes, palette=palette),
    reduce_zero_label=True,
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=train_pipeline,
        **drawn,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        pipeline=test_pipeline,
        **drawn,
    ),
)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        size="mini",
        pretrained="mini",
        image_size=112,
        taps=[2, 3, 4, 5],
        frozen=True,
        precision="float32",
    ),
    decode_head=dict(in_channels=[192, 192, 192, 192], channels=64, num_classes=8),
    auxiliary_head=dict(in_channels=192, in_index=1, channels=64, num_classes=8),
    test_cfg=dict(crop_size=crop_size, stride=(70, 70)),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=30),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=400),
]
train_cfg = dict(max_iters=400, val_interval=200)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=200), visualization=dict(draw=False)
)
env_cfg = dict(dist_cfg=dict(backend="gloo"))
