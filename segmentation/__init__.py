"""Semantic segmentation on the InternViT backbone. Empty in this release: the extra `segmentation` installs what the
mmseg configs will need, and nothing here is importable yet."""
