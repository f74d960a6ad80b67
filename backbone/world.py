"""This process among the others of a run: who am I, join and leave, and on which device."""

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """This process among `size` (environment of torchrun; alone without it)."""

    rank: int
    size: int
    local_rank: int

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0


def join_world() -> World:
    """This process's place; under torchrun the process group is set up (NCCL on CUDA, else Gloo)."""
    world = World(
        *(int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    )
    if world.size > 1 and not dist.is_initialized():
        connect("nccl" if torch.cuda.is_available() else "gloo")
    return world


def connect(backend: str) -> None:
    """Sets up the process group of the run; one of Gloo is dissolved when the interpreter is about to end.

    The threads of a Gloo group that is still there then may abort the process, after all its work was done
    (pytorch/pytorch#179291). One of NCCL stays: dissolving it could wait for a process that has failed.
    """
    dist.init_process_group(backend)
    if backend == "gloo":
        atexit.register(leave)


def leave() -> None:
    """Dissolves the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def local_device(world: World) -> torch.device:
    """The device of this process under torchrun."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(world.local_rank)
    return torch.device("cuda", world.local_rank)
