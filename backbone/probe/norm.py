"""BatchNorm whose statistics are those of the batch of all processes.

Letters of the shapes: B rows of this process, F features.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm (Ioffe and Szegedy, 2015) over (B, F); several processes share their statistics.

    torch's own SyncBatchNorm does this on CUDA only. Every process must hand in as many rows.
    """

    def forward(self, features_BF: Tensor) -> Tensor:
        """The normalised features, (B, F); in training the running statistics follow."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(features_BF)
        world = dist.get_world_size()
        mean_F: Tensor = _Sum.apply(features_BF.mean(0)) / world
        var_F: Tensor = _Sum.apply((features_BF - mean_F).square().mean(0)) / world
        self.follow(mean_F.detach(), var_F.detach(), len(features_BF) * world)
        normal_BF = (features_BF - mean_F) * torch.rsqrt(var_F + self.eps)
        return torch.addcmul(self.bias, normal_BF, self.weight)

    @torch.no_grad()
    def follow(self, mean_F: Tensor, var_F: Tensor, count: int) -> None:
        """Nothing; the running statistics move towards those of a batch of `count` rows."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        share = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_F, share)
        self.running_var.lerp_(var_F * (count / max(count - 1, 1)), share)
        self.num_batches_tracked += 1
