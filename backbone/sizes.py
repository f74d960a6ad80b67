"""The published InternViT sizes as literals.

Sources: the config.json of each hub id (read for 6B-224px, 6B-448px-V1-2, 6B-448px-V1-5 and 300M-448px) and,
for all seven, table 1 of "Expanding Performance Boundaries of Open-Source Multimodal Models" (Chen et al.
2024, arXiv 2412.05271): resolution, width, depth, MLP width, heads, q/k norm, norm type. The 6B files leave
`norm_type` out, which means RMSNorm. V1-2, V1-5 and V2_5 are the 48 layers without the last three.
"""

from dataclasses import replace

from .config import ViTConfig

# OpenGVLab/InternViT-6B-224px. Its initializer_range really is 1e-10: it was never meant to start a training.
INTERNVIT_6B_224PX = ViTConfig(
    hidden_size=3200,
    num_hidden_layers=48,
    num_attention_heads=25,
    intermediate_size=12800,
    image_size=224,
    patch_size=14,
    norm_type="rms_norm",
    qk_normalization=True,
    qkv_bias=False,
    layer_norm_eps=1e-6,
    drop_path_rate=0.0,
    initializer_range=1e-10,
    initializer_factor=0.1,
)
# OpenGVLab/InternViT-6B-448px-V1-0
INTERNVIT_6B_448PX_V1_0 = replace(INTERNVIT_6B_224PX, image_size=448)
# OpenGVLab/InternViT-6B-448px-V1-2
INTERNVIT_6B_448PX_V1_2 = replace(INTERNVIT_6B_448PX_V1_0, num_hidden_layers=45)
# OpenGVLab/InternViT-6B-448px-V1-5
INTERNVIT_6B_448PX_V1_5 = INTERNVIT_6B_448PX_V1_2
# OpenGVLab/InternViT-6B-448px-V2_5
INTERNVIT_6B_448PX_V2_5 = INTERNVIT_6B_448PX_V1_2

# OpenGVLab/InternViT-300M-448px
INTERNVIT_300M_448PX = ViTConfig(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    image_size=448,
    patch_size=14,
    norm_type="layer_norm",
    qk_normalization=False,
    qkv_bias=True,
    layer_norm_eps=1e-6,
    drop_path_rate=0.1,
    initializer_range=0.02,
    initializer_factor=1.0,
)
# OpenGVLab/InternViT-300M-448px-V2_5
INTERNVIT_300M_448PX_V2_5 = INTERNVIT_300M_448PX

# By hub id.
SIZES = {
    "OpenGVLab/InternViT-6B-224px": INTERNVIT_6B_224PX,
    "OpenGVLab/InternViT-6B-448px-V1-0": INTERNVIT_6B_448PX_V1_0,
    "OpenGVLab/InternViT-6B-448px-V1-2": INTERNVIT_6B_448PX_V1_2,
    "OpenGVLab/InternViT-6B-448px-V1-5": INTERNVIT_6B_448PX_V1_5,
    "OpenGVLab/InternViT-6B-448px-V2_5": INTERNVIT_6B_448PX_V2_5,
    "OpenGVLab/InternViT-300M-448px": INTERNVIT_300M_448PX,
    "OpenGVLab/InternViT-300M-448px-V2_5": INTERNVIT_300M_448PX_V2_5,
}
