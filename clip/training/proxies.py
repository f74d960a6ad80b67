"""The proxies' head start in a fine-tuning: each group's vector begins where its names already are.

Random proxies would pull a trained text tower apart before they had learned where its groups lie.
"""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ...errors import InvalidInput
from ..tokenizer import Tokenizer
from .config import TrainConfig
from .data import Pairs
from .learner import Learner, encode_texts

DRAWS = 8  # names of each group, of languages drawn at random
GROUPS = 64  # at a time


@torch.no_grad()
def start_proxies(
    learner: Learner, pairs: Pairs, tokenizer: Tokenizer, config: TrainConfig, quiet: bool
) -> Tensor:
    """Sets each proxy to the mean unit vector of some of its group's names, in place.

    Returns the proxies, (G, D).
    """
    if learner.proxies is None:
        raise InvalidInput("the head start needs proxies; set proxies above 0")
    random = np.random.default_rng((config.seed, 3))
    chunks = torch.split(torch.arange(len(pairs.group_names)), GROUPS)
    for chunk in track(chunks, description="proxies", console=Console(stderr=True), disable=quiet):
        texts = [pairs.texts.draw(int(g), random, 1.0, None) for g in chunk for _ in range(DRAWS)]
        ids = tokenizer(texts, max_length=config.max_text_tokens, pad_to_max=False)
        vectors_ND = F.normalize(encode_texts(learner.model, ids.to(learner.proxies.device)), dim=1)
        mean_GD = rearrange(vectors_ND, "(g n) d -> g n d", n=DRAWS).mean(1)
        learner.proxies[chunk] = F.normalize(mean_GD, dim=1)
    return learner.proxies
