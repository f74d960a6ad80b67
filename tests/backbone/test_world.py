"""Joining and leaving the processes of a run."""

import os
import subprocess
import sys

import pytest

ALONE = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
PROGRAM = """
import atexit, os, time
import torch.distributed as dist
from polylens.backbone.world import connect

def more():
    return len(os.listdir("/proc/self/task")) - before

@atexit.register  # called last, as what is registered first
def count():
    until = time.monotonic() + 1
    while more() and time.monotonic() < until:  # a thread that was joined may stand there a moment longer
        time.sleep(0.01)
    print(more())

before = len(os.listdir("/proc/self/task"))
{join}("gloo")
print(more())
"""


@pytest.mark.parametrize(
    ("join", "stay"), [("connect", False), ("dist.init_process_group", True)], ids=["ours", "control"]
)
def test_the_threads_of_the_group_are_gone_before_the_interpreter_ends(join: str, stay: bool) -> None:
    command = [sys.executable, "-c", PROGRAM.format(join=join)]
    ended = subprocess.run(command, env=os.environ | ALONE, capture_output=True, text=True, timeout=120)
    during, last = map(int, ended.stdout.split())
    assert during > 0 and (last > 0) == stay, ended.stderr
