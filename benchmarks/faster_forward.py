"""What int8 weights, bfloat16 and torch.compile make of a model's forward passes on this processor.

The same model is loaded once for each way; all take turns, round by round, on the same prepared inputs. For
each: entries a second, its rate over that of float32 and the same by processor time (both medians over the
rounds), and the smallest cosine between its vectors and those of float32.

    python benchmarks/faster_forward.py --model hf:FOLDER
    python benchmarks/faster_forward.py --ways float32 int8 compile --threads 2
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import polylens
import torch
from common import machine, parse, parser, save, table
from polylens.clip.precision import made_faster
from service_load import inputs

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "float32": ("float32", {}),
    "int8": ("float32", {"quantize": "int8"}),
    "bfloat16": ("bfloat16", {}),
    "compile": ("float32", {"compile": True}),
}
HEAD = ("inputs", "way", "a second", "over float32", "by processor time", "smallest cosine")


def loaded(model: str, way: str) -> Any:
    """The encoder, made faster in that way."""
    dtype, how = WAYS[way]
    return made_faster(polylens.load(model, dtype=dtype), **how)


def timed(run: Callable[[], object], seconds: float, batch: int) -> tuple[float, float]:
    """Entries a second, and entries a second of processor time."""
    done, begun, before = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - begun) < seconds:
        run()
        done += batch
    return done / taken, done / (time.process_time() - before)


def compare(encoders: dict[str, Any], kind: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of one kind of input, by way."""
    plain = encoders["float32"]
    prepare = plain.prepare_image if kind == "image" else plain.prepare_text
    ready = [prepare(one) for one in itertools.islice(inputs(kind), given.batch)]
    runs = {
        way: (lambda embed: lambda: embed(ready))(one.embed_pixels if kind == "image" else one.embed_ids)
        for way, one in encoders.items()
    }
    vectors = {way: run() for way, run in runs.items()}  # the first pass is slow as well
    rates: dict[str, list[tuple[float, float]]] = {way: [] for way in runs}
    for _ in range(given.rounds):
        for way, run in runs.items():
            rates[way].append(timed(run, given.seconds, given.batch))
    return [
        {
            "inputs": kind,
            "way": way,
            "a second": statistics.median(rate for rate, _ in rates[way]),
            **{
                name: statistics.median(
                    a[place] / b[place] for a, b in zip(rates[way], rates["float32"], strict=True)
                )
                for place, name in enumerate(HEAD[3:5])
            },
            "smallest cosine": float((vectors[way] * vectors["float32"]).sum(axis=1).min()),
            "rounds": rates[way],
        }
        for way in runs
    ]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="mini")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=["float32", "int8", "bfloat16"])
    options.add_argument("--kinds", nargs="+", choices=("image", "text"), default=["image", "text"])
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--threads", type=int, help="that compute; default: one for each core")
    options.add_argument("--seconds", type=float, default=3.0, help="of each way in each round")
    options.add_argument("--rounds", type=int, default=5)
    given = parse(options, "faster_forward", {"seconds": 0.3, "rounds": 1})
    before = machine()
    torch.set_num_threads(given.threads or before["cores"])
    encoders = {way: loaded(given.model, way) for way in dict.fromkeys(["float32", *given.ways])}
    results = [row for kind in given.kinds for row in compare(encoders, kind, given)]
    print(table(HEAD, [[row[name] for name in HEAD] for row in results]))
    save(given, before, results)


if __name__ == "__main__":
    main()
