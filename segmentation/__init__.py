"""Semantic segmentation on the InternViT backbone: empty in this release.

The extra `segmentation` already installs what its mmseg configs will need.
"""
