"""A job that is killed again and again: `python killed_job.py SOURCE OUT KILLS SEED [in-place]`.

Prints a line of JSON: the kills that hit, how often a unit was begun, and by how many units any one kill set
the job back. The job runs in forks of this process, so that a life begins at once. `in-place` takes away what
the job relies on: files are written under their last names, and a unit counts as done when its file is there.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from polylens.clip.embedding import shards
from polylens.clip.embedding.shards import REJECTS, Shard, ShardWriter, described
from toy_job import Job

UNIT = 100
LONGEST = 0.15  # seconds of a life: a few units


def run(source: str, out: Path, log: Path) -> None:
    """The job to its end; notes every unit that it begins."""
    begin = ShardWriter.__init__

    def noted(self: ShardWriter, shard: Shard, *rest: Any) -> None:
        with log.open("a") as file:
            file.write(f"{shard.number}\n")
        begin(self, shard, *rest)

    ShardWriter.__init__ = noted  # type: ignore[method-assign]
    Job(out, [source], unit_size=UNIT, batch_size=16).run()


def write_in_place() -> None:
    """No temporary names and no record: a file that is there is taken to be whole."""
    recorded = Shard.done

    def done(self: Shard) -> dict[str, Any] | None:
        files = [self.file(kind) for kind in ("img_emb", "metadata", REJECTS)]
        there = {str(file.relative_to(self.out)): described(file) for file in files if file.exists()}
        guess = {"unit": self.number, "sample_count": 0, "rejected": 0, "files": there}
        return recorded(self) or (guess if self.file("img_emb").exists() else None)

    Shard.done = done  # type: ignore[method-assign]
    shards.temporary = lambda path: path
    shards.publish = lambda written, path: None
    ShardWriter.__exit__ = lambda self, *error: None  # type: ignore[method-assign, assignment]


def undone(out: Path, log: Path) -> int:
    """Units that were begun and have no record."""
    begun = {int(line) for line in log.read_text().split()} if log.exists() else set()
    recorded = {int(file.stem) for file in (out / "stats").glob("[0-9]*.json")}
    return len(begun - recorded)


def main() -> None:
    """Kills and starts again until the job is complete."""
    source, out, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    if sys.argv[5:] == ["in-place"]:
        write_in_place()
    log, chance = out.with_suffix(".log"), random.Random(seed)
    hits = most = 0
    while True:
        child = os.fork()
        if not child:
            run(source, out, log)
            os._exit(0)
        if hits < kills:
            time.sleep(chance.uniform(0, LONGEST))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            hits += 1
            most = max(most, undone(out, log))
        else:
            break
    begun = len(log.read_text().split())
    print(json.dumps({"kills": hits, "begun": begun, "most": most, "status": status}))


if __name__ == "__main__":
    main()
