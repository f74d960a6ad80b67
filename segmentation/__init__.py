"""Semantic segmentation on the InternViT backbone.

Empty in this release: the extra `segmentation` installs what mmseg configs need, no name is here to import.
"""
