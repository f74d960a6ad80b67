"""Damaged pictures through the decoding processes, and in batches with good ones through a server."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from random import Random

import grpc
import numpy as np
from PIL import Image
from polylens.backbone.pixels import Preprocess
from polylens.clip.decoding.pool import Decoders
from polylens.clip.recipe import written
from polylens.errors import PolylensError
from polylens.proto.polylens.v1 import embed_pb2
from polylens.service.methods import METHODS, path

from .pictures import damaged, encoded, made, seeds
from .process import Process
from .report import Report

SIDE = 64
HANG = 2.0  # seconds; the machine may be busy with other things
BATCH = 64
REFUSED = (3, 8)  # INVALID_ARGUMENT, RESOURCE_EXHAUSTED
GROWTH = 64 << 20  # bytes of memory, of a model that makes 0.2 MB of pixels a batch


def decode(count: int, seed: int = 0, processes: int = 2) -> Report:
    """Every picture gives finite pixels of the right shape, or a refusal in time; no process dies of one."""
    report, random = Report("images", seed), Random(seed)
    stream, slowest = damaged(random, seeds()), 0.0
    decoders = Decoders(processes, written(Preprocess("service", SIDE)))

    def one(picture: bytes) -> float:
        begun = time.monotonic()
        try:
            pixels = decoders.prepare(picture)
        except PolylensError as error:
            report.counts[f"refused: {type(error).__name__}"] += 1
        except Exception as error:
            report.problem(f"{type(error).__name__}: {error}, of {picture[:40].hex()}…")
        else:
            report.counts["decoded"] += 1
            if (
                isinstance(pixels, Image.Image)
                or pixels.shape != (3, SIDE, SIDE)
                or not np.isfinite(pixels).all()
            ):
                report.problem(f"no finite pixels of 3 x {SIDE} x {SIDE}, of {picture[:40].hex()}…")
        return time.monotonic() - begun

    try:
        for _ in range(processes):  # a process that still starts is slow for no fault of a picture
            one(encoded(made("RGB", (9, 9)), "PNG"))
        report.counts.clear()
        with ThreadPoolExecutor(processes) as pool:
            while left := count - report.counts.total() - report.wrong:
                for seconds in pool.map(one, islice(stream, min(left, 1000))):
                    slowest = max(slowest, seconds)
                    if seconds > HANG:
                        report.problem(f"a picture took {seconds:.1f} s")
        if decoders.restarts:
            report.problem(f"{decoders.restarts} times a decoding process had to be replaced")
    finally:
        decoders.close()
    report.figures["slowest picture, ms"] = round(1000 * slowest, 1)
    return report


def neighbours(server: Process, count: int, seed: int = 0) -> Report:
    """Batches of damaged pictures with a good one among them: its vector stays what it is alone."""
    return asyncio.run(_neighbours(server, count, seed))


async def _neighbours(server: Process, count: int, seed: int) -> Report:
    report, random = Report("neighbours", seed), Random(seed)
    whole = seeds()
    stream, good = damaged(random, whole), encoded(made("RGB", (80, 70)), "PNG")
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        embed = channel.unary_unary(
            path(METHODS["EmbedImages"]),
            request_serializer=embed_pb2.EmbedImagesRequest.SerializeToString,
            response_deserializer=embed_pb2.EmbedImagesResponse.FromString,
        )
        alone = _vector((await embed(embed_pb2.EmbedImagesRequest(images=[good]), timeout=60)).embeddings[0])
        before, slowest = None, 0.0
        for number in range(0, count, BATCH - 1):
            place = random.randrange(BATCH)
            images = list(islice(stream, BATCH - 1))
            images.insert(place, good)
            begun = time.monotonic()
            try:
                reply = await embed(embed_pb2.EmbedImagesRequest(images=images), timeout=60)
            except grpc.aio.AioRpcError as error:
                report.problem(f"a batch was answered {error.code().name}: {error.details()}")
                continue
            slowest = max(slowest, time.monotonic() - begun)
            _compare(report, reply, place, alone)
            if number // (BATCH - 1) == min(100, count // BATCH // 2):
                before = server.holdings()
    _after(report, server, before.memory if before else server.holdings().memory)
    report.figures["slowest batch, ms"] = round(1000 * slowest)
    return report


def _compare(report: Report, reply: embed_pb2.EmbedImagesResponse, place: int, alone: np.ndarray) -> None:
    refused = {one.index: one for one in reply.errors}
    for one in refused.values():
        report.counts[f"refused with code {one.code}"] += 1
        if one.code not in REFUSED:
            report.problem(f"a picture was refused with code {one.code}: {one.message}")
    if place in refused or not np.allclose(_vector(reply.embeddings[place]), alone, atol=1e-5):
        report.problem("the good picture of a batch did not get its vector")
    else:
        report.counts["good ones that got their vector"] += 1
    for index, one in enumerate(reply.embeddings):
        if index != place and index not in refused:
            report.counts["embedded"] += 1
            if abs(np.linalg.norm(_vector(one)) - 1) > 1e-3:
                report.problem("an embedding is not of unit length")


def _after(report: Report, server: Process, before: int) -> None:
    if not server.alive:
        return report.problem("the server is gone")
    grown = server.holdings().memory - before
    report.figures["memory grown, MB"] = round(grown / 1e6, 1)
    if grown > GROWTH:
        report.problem(f"the server's memory grew by {grown / 1e6:.0f} MB")


def _vector(embedding: embed_pb2.Embedding) -> np.ndarray:
    return np.frombuffer(embedding.vector, "<f4")
