"""What `polylens embed --engine ray` costs on one machine, beside the same job without Ray.

    OMP_NUM_THREADS=1 python benchmarks/embed_on_ray.py --pictures 3000

Both engines get one model with one thread and no decoding processes, and the same units, in turns. The time
to the end of the first unit, which has the start of Ray and the loading of the model in it, is told apart.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from polylens.clip.embedding.on_ray import Resources, run_on_ray
from polylens.clip.embedding.plan import Plan
from polylens.clip.embedding.run import plan_of, run_job
from polylens.clip.embedding.settings import Settings
from polylens.clip.load import load

MODEL = {"name": "mini"}
Report = Callable[[int, int, int], None]


def pictures(folder: Path, count: int) -> None:
    """Noisy JPEGs of 128 x 128 pixels."""
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (128, 128, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.jpg")


def timed(run: Callable[[Report], object], unit: int, units: int) -> dict[str, float]:
    """Seconds to the first unit, and pictures a second from then on."""
    begun, ends = time.perf_counter(), list[float]()

    def report(samples: int, rejected: int, complete: int) -> None:
        if complete:
            ends.append(time.perf_counter() - begun)

    run(report)
    rate = unit * (units - 1) / (ends[-1] - ends[0])
    return {
        "first unit s": round(ends[0], 2),
        "pictures/s after it": round(rate, 1),
        "total s": round(ends[-1], 2),
    }


def vectors(out: Path) -> str:
    """SHA-256 of all vectors."""
    digest = hashlib.sha256()
    for file in sorted((out / "img_emb").iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=3_000)
    parser.add_argument("--unit", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        pictures(folder, given.pictures)
        for turn in range(given.rounds):
            seen = set()
            for engine in ("local", "ray"):
                out = Path(temporary) / f"{engine}{turn}"

                def planned(out: Path = out) -> Plan:
                    return plan_of(load(**MODEL), [str(folder)], out, Settings(unit_size=given.unit))

                def local(report: Report, make: Callable[[], Plan] = planned) -> None:
                    run_job(make(), load(**MODEL), workers=0, report=report)

                def on_ray(report: Report, make: Callable[[], Plan] = planned) -> None:
                    run_on_ray(make(), MODEL, Resources(actors=1), report)

                found = timed(
                    local if engine == "local" else on_ray, given.unit, given.pictures // given.unit
                )
                seen.add(vectors(out))
                print(json.dumps({"engine": engine, **found}), flush=True)
            print("the same vectors" if len(seen) == 1 else "OTHER VECTORS")


if __name__ == "__main__":
    main()
