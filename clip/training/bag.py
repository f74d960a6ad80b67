"""The text tower's head start: embeddings and proxies learned as a bag of words, before any layer is run.

Most of what a text tower must remember is which words go with which picture. A bag of words learns that at a
hundredth of the cost (Joulin et al., "Bag of Tricks for Efficient Text Classification", EACL 2017). The first
layer's attention is then set to the plain average, so the tower begins as that bag.
"""

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ...errors import InvalidInput
from ..internvl_c import InternVLC
from ..tokenizer import Tokenizer
from .config import TrainConfig
from .data import Pairs
from .learner import Learner
from .loss import proxy_loss

LEARNING_RATE = 1e-2  # of Adam; a shallow model stands a high one
SCALE = 20.0  # inverse temperature while the bag is learned


def start_as_bag(
    learner: Learner, pairs: Pairs, tokenizer: Tokenizer, config: TrainConfig, quiet: bool
) -> None:
    """Trains embeddings, text projection and proxies as a bag of words for `config.bag_steps`, in place."""
    if learner.proxies is None:
        raise InvalidInput("bag_steps needs proxies; set proxies above 0")
    model, proxies = learner.model, learner.proxies
    average_first(model)
    trained = [model.qllama.embed_tokens.weight, model.text_projection, proxies]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
    scale = torch.tensor(SCALE, device=proxies.device)
    steps = range(config.bag_steps)
    for step in track(steps, description="bag of words", console=Console(stderr=True), disable=quiet):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / config.bag_steps)
        random = np.random.default_rng((config.seed, 2, step))
        groups = random.integers(len(pairs.group_names), size=config.bag_batch_size)
        texts = [pairs.texts.draw(int(g), random, config.name_share, None) for g in groups]
        ids = tokenizer(texts, max_length=config.max_text_tokens, pad_to_max=False).to(proxies.device)
        loss = proxy_loss(bag(model, ids), proxies, torch.as_tensor(groups).to(proxies.device), scale)
        torch.autograd.backward(loss)
        optimizer.step()
        learner.zero_grad(set_to_none=True)


def bag(model: InternVLC, ids_BL: Tensor) -> Tensor:
    """Unit vectors (B, D): the mean of the normalised token embeddings, projected."""
    width = model.text_projection.shape[0]
    tokens_BLT = F.rms_norm(F.embedding(ids_BL, model.qllama.embed_tokens.weight), (width,))
    mask_BL1 = (ids_BL > 0)[..., None]
    mean_BT = (tokens_BLT * mask_BL1).sum(1) / mask_BL1.sum(1)
    return F.normalize(mean_BT @ model.text_projection, dim=1)


@torch.no_grad()
def average_first(model: InternVLC) -> None:
    """Sets the first layer's attention close to the average of what it reads: q and k small, v and o one."""
    for name, weight in model.qllama.layers[0].named_parameters():
        if name in ("self_attn.q_proj.weight", "self_attn.k_proj.weight"):
            weight.mul_(0.25)  # not zero: two zero matrices would have no gradient
        elif name in ("self_attn.v_proj.weight", "self_attn.o_proj.weight"):
            torch.nn.init.eye_(weight)
