"""Which of several processes this one is, from the environment of torchrun or of Slurm."""

import os
from collections.abc import Mapping

from ...backbone.world import World
from ...errors import InvalidInput


def place(
    rank: int | None = None, world: int | None = None, environment: Mapping[str, str] = os.environ
) -> World:
    """The place that was asked for; without one that of torchrun, else of Slurm, else alone.

    A Slurm job array of N tasks with M processes each makes N * M processes.
    """
    if (rank is None) != (world is None):
        raise InvalidInput("give both a rank and a world, or neither")
    if rank is not None and world is not None:
        found = World(rank, world, 0)
    elif "WORLD_SIZE" in environment:
        found = World(*(int(environment.get(n, "0")) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    else:
        found = _of_slurm(environment)
    if not 0 <= found.rank < found.size:
        raise InvalidInput(f"the rank is {found.rank} in a world of {found.size}, expected less")
    return found


def _of_slurm(environment: Mapping[str, str]) -> World:
    # Set by srun for each process it starts; a shell of `salloc` has the count only.
    inside = "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment
    process = int(environment["SLURM_PROCID"]) if inside else 0
    processes = int(environment["SLURM_STEP_NUM_TASKS"]) if inside else 1
    tasks = int(environment.get("SLURM_ARRAY_TASK_COUNT", "1"))
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    task = int(environment.get("SLURM_ARRAY_TASK_ID", "0")) - first
    # An array with gaps (--array=0-9:3) has ids that are not its positions.
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    local = int(environment.get("SLURM_LOCALID", "0"))
    return World(task // step * processes + process, tasks * processes, local)
