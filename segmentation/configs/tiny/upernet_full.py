# As upernet_frozen.py with mini's backbone trained as well.
# Nothing published; docs/segmentation.md has what it reached.
_base_ = ["./upernet_frozen.py"]
model = dict(backbone=dict(frozen=False, drop_path=0.1))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.8))
