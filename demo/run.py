"""`polylens demo` from end to end: gallery, collection, server, questions over gRPC, table, files."""

import asyncio
import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..clip.encoder import Encoder
from ..clip.load import load
from ..index.store import Store
from ..service import records
from ..service.client import Client
from ..service.engine import Engine
from ..service.server import Server, serving
from ..service.settings import Settings
from ..whole import write_whole
from .answers import Answer, Hit, report, table
from .collection import COLLECTION, COLLECTION_OF_ALL, fill
from .contact_sheet import contact_sheet
from .openmoji import Drawing, attribution, drawings, pictures
from .progress import track
from .queries import Query, queries

HITS = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen about a demo; `data` is where the collection lives, by default inside `out`."""

    out: Path = Path("polylens-demo")
    data: Path | None = None
    model: str = "mini"
    port: int = 0
    once: bool = False
    variants: bool = False
    fonts: Path | None = None


def run(options: Options) -> None:
    """Shows the demo; without `once` it goes on serving until interrupted."""
    gallery = drawings(variants=options.variants)
    encoder = load(options.model)
    Demo(encoder, gallery, pictures(gallery), queries(), options).show()


@dataclass(frozen=True)
class Demo:
    """A model, a gallery with the file of each drawing by key, and what to ask."""

    encoder: Encoder
    gallery: Sequence[Drawing]
    files: Mapping[str, Path]
    asked: Sequence[Query]
    options: Options

    def show(self) -> None:
        """Fills the collection, serves it, asks, writes demo.json and contact_sheet.png."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        # A folder for each model, so that changing the model never meets vectors of another.
        data = self.options.data or self.options.out / "collections" / self.encoder.fingerprint[:16]
        # drain_seconds gives load balancers time to look elsewhere; a demo has none.
        port, model = self.options.port, self.options.model
        settings = Settings(model=model, data=str(data), port=port, http_port=0, drain_seconds=0)
        collection = COLLECTION_OF_ALL if self.options.variants else COLLECTION
        with Store(data) as store:
            fill(store, collection, self.encoder, self.gallery, self.files)
            asyncio.run(self._serve(settings, store, collection))

    async def _serve(self, settings: Settings, store: Store, collection: str) -> None:
        engine = Engine(self.encoder, store, settings)
        async with serving(engine, pictures={collection: self.files}) as server:
            answers = await asyncio.to_thread(ask, server.address, collection, self.asked)
            self._tell(answers)
            self._write(answers)
            if not self.options.once:
                _invite(server, collection)
                await _interruption()

    def _tell(self, answers: Sequence[Answer]) -> None:
        console = Console()
        console.print(table(answers))
        found = sum(answer.found for answer in answers)
        console.print(
            f"\n[bold]{found} of {len(answers)}[/] questions have a right drawing (green) "
            f"among their first {HITS} of {len(self.gallery):,}."
        )
        console.print(f"[dim]{attribution()}[/]")

    def _write(self, answers: Sequence[Answer]) -> None:
        images, dim, out = len(self.gallery), self.encoder.dim, self.options.out
        content = json.dumps(report(answers, images=images, dim=dim), ensure_ascii=False, indent=1)
        write_whole(out / "demo.json", lambda path: path.write_text(content, "utf-8"))
        languages = len({answer.query.language for answer in answers})
        sheet = contact_sheet(
            answers,
            self.files,
            heading=f"{len(answers)} questions in {languages} languages over {images:,} drawings, "
            f"model {self.encoder.name}",
            footing=f"Drawings: {attribution()}",
            fonts=self.options.fonts,
        )
        write_whole(out / "contact_sheet.png", lambda path: path.write_bytes(sheet))
        written = f"Written: {out / 'contact_sheet.png'} and {out / 'demo.json'}"
        Console().print(written, soft_wrap=True, markup=False)


def ask(address: str, collection: str, asked: Sequence[Query]) -> list[Answer]:
    """The answers of the server at `address`, each with the milliseconds of its whole round trip."""
    answers = []
    with Client(address) as client:
        for query in track(asked, "asking", total=len(asked)):
            begun = time.perf_counter()
            found = client.search(query.text, collection=collection, k=HITS)
            milliseconds = 1000 * (time.perf_counter() - begun)
            answers.append(Answer(query, tuple(map(_hit, found)), milliseconds))
    return answers


def _hit(hit: records.Hit) -> Hit:
    # A person may have added pictures of their own, which need not say what they are called.
    return Hit(hit.id, hit.score, str(hit.metadata.get("name", hit.id)), str(hit.metadata.get("emoji", "")))


def _invite(server: Server, collection: str) -> None:
    console = Console()
    if server.web is not None:
        console.print(f"\nSearch it in your browser: [bold]{server.web.url}[/]")
    console.print(f"\nServing on [bold]{server.address}[/] until Ctrl-C. In another terminal:\n")
    command = f'polylens search "kikombe cha chai" --server {server.address} --collection {collection}'
    console.print(f"  {command}\n", soft_wrap=True)


async def _interruption() -> None:
    """Returns at Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
