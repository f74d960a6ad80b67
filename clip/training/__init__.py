"""Contrastive training of InternVL-C from image-text pairs."""
