"""Checkpoints of InternVL-C and -G as weights in the hub's names, in whatever form they were stored."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import torch

from ..backbone.checkpoint import read_config, resolve
from ..backbone.positions import resize_positions
from ..backbone.weights import Weights, open_weights
from .config import InternVLConfig
from .lora import merge_lora
from .made import Made, gather, taken
from .renames import PTH_TO_HUB, ROTARY_BUFFER, there
from .sizes import config_of_shapes

log = logging.getLogger(__name__)

EMBEDDING, HEAD = "qllama.model.embed_tokens.weight", "qllama.lm_head.weight"
POSITIONS = "vision_model.embeddings.position_embedding"


def open_checkpoint(
    source: str | Path, config: InternVLConfig | None = None, tie_word_embeddings: bool | None = None
) -> tuple[InternVLConfig, Weights]:
    """Config and weights (hub names, adapters merged, positions fitted) of a folder, a hub id or a .pth file.

    `config` replaces the folder's config.json; a .pth file has none, see `config_of_shapes`.
    """
    path = resolve(source)
    weights = open_weights(path)
    if path.is_file():
        weights = from_pth(weights)
        config = config or config_of_shapes(weights)
    config = config or InternVLConfig.from_dict(read_config(path))
    if tie_word_embeddings is not None:
        config = replace(config, tie_word_embeddings=tie_word_embeddings)
    ranks = {"vision_model": config.use_backbone_lora, "qllama": config.use_qllama_lora}
    weights = without(merge_lora(weights, ranks), ROTARY_BUFFER)
    weights = fit_positions(tie_embeddings(weights, config), config)
    # What is merged now must not be looked for when this model is saved and loaded again.
    return replace(config, use_backbone_lora=0, use_qllama_lora=0), weights


def from_pth(weights: Weights) -> Weights:
    """The weights of internvl_c_13b_224px.pth in the hub's names."""
    return gather(taken(weights, name, there(name, PTH_TO_HUB)) for name in weights)


def without(weights: Weights, names: re.Pattern[str]) -> Weights:
    """The weights but those of the names given."""
    return gather(taken(weights, name, name) for name in weights if not names.fullmatch(name))


def tie_embeddings(weights: Weights, config: InternVLConfig) -> Weights:
    """The weights with one matrix for input and output embeddings when the config ties them.

    When it does not say, both stay as stored. The original would tie them then, and so change the text
    vectors of a checkpoint whose two matrices differ: that gets a warning.
    """
    stored = [name for name in (HEAD, EMBEDDING) if name in weights]
    if config.tie_word_embeddings and stored:
        # The original keeps the head's values when both are stored.
        shared = [taken(weights, stored[0], name) for name in (HEAD, EMBEDDING)]
        return gather([taken(weights, name, name) for name in weights if name not in stored] + shared)
    silent = config.tie_word_embeddings is None and len(stored) == 2
    if silent and not torch.equal(weights[HEAD], weights[EMBEDDING]):
        log.warning(
            "lm_head and embed_tokens differ and config.json does not say tie_word_embeddings: both are used "
            "as stored. The original code would use lm_head for both; tie_word_embeddings=True does that."
        )
    return weights


def fit_positions(weights: Weights, config: InternVLConfig) -> Weights:
    """The weights with position embeddings for the config's image size.

    A checkpoint with `force_image_size` stores them at that size. Native ones, which the original refuses,
    are resized the way it does before fine-tuning, so both give the same numbers.
    """
    grid, width = config.vision.grid, config.vision.hidden_size
    count = weights.shape(POSITIONS)[1] if POSITIONS in weights else grid**2 + 1
    if count == grid**2 + 1:
        return weights
    log.info("position embeddings resized: %d tokens stored, %d x %d patches wanted", count, grid, grid)
    size = (1, grid**2 + 1, width)
    resized = Made(POSITIONS, size, lambda: resize_positions(weights[POSITIONS], grid, grid))
    return gather([taken(weights, name, name) for name in weights if name != POSITIONS] + [resized])
