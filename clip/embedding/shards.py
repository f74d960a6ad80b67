"""A shard of the output: everything that one unit gave, in files that appear whole and are recorded last.

    img_emb/img_emb_N.npy, text_emb/text_emb_N.npy     vectors, as clip-retrieval names them
    metadata/metadata_N.parquet                        a row for each vector, in the same order
    rejects/rejects_N.jsonl                            what was refused, and why
    stats/N.json                                       the record: counts, sizes, checksums, times

Each file is written under a temporary name, synced, and renamed; the folder is synced; then the record is
written in the same way. A unit is done when its record is there, and only then.
"""

import hashlib
import io
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...whole import clear_leftovers, sync_path, write_whole
from .encode import Rows
from .metadata import Notes
from .settings import Settings

IMAGES, TEXTS, METADATA, REJECTS, STATS = "img_emb", "text_emb", "metadata", "rejects", "stats"


class Shard:
    """The names of a shard's files, and its record."""

    def __init__(self, out: Path, number: int, units: int) -> None:
        self.out, self.number = out, number
        self.name = str(number).zfill(len(str(units)))  # clip-retrieval's width

    def file(self, kind: str) -> Path:
        """The file of that kind, such as `img_emb`."""
        suffix = {METADATA: "parquet", REJECTS: "jsonl"}.get(kind, "npy")
        return self.out / kind / f"{kind}_{self.name}.{suffix}"

    @property
    def record(self) -> Path:
        """The file that says what the shard holds."""
        return self.out / STATS / f"{self.name}.json"

    def done(self) -> dict[str, Any] | None:
        """The record, if the unit is done and its files are there in the recorded size."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text("utf-8"))
            files = record["files"].items()
            sizes = [((self.out / name).stat().st_size, file["bytes"]) for name, file in files]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return record if all(there == wanted for there, wanted in sizes) else None


class ShardWriter:
    """Takes the rows of a unit and makes them its shard; without `commit` nothing of it stays."""

    def __init__(self, shard: Shard, settings: Settings, dim: int) -> None:
        self._shard, self._settings = shard, settings
        kinds = [IMAGES] * settings.images + [TEXTS] * settings.texts + [METADATA, REJECTS]
        for path in (*map(shard.file, kinds), shard.record):
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_leftovers(path)
        self._files = {kind: temporary(shard.file(kind)) for kind in kinds}
        self._vectors = {
            kind: VectorFile(self._files[kind], settings.dtype, dim)
            for kind in kinds
            if kind in (IMAGES, TEXTS)
        }
        self._notes_file = self._files[METADATA].with_suffix(".jsonl")
        self._notes = Notes(self._notes_file)
        self._rejects = self._files[REJECTS].open("w", encoding="utf-8")
        self._begun, self.rows, self.rejected = time.time(), 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notes.close()
        self._rejects.close()
        for vectors in self._vectors.values():
            vectors.close()
        for path in (self._notes_file, *self._files.values()):
            path.unlink(missing_ok=True)

    def add(self, rows: Rows) -> None:
        """Appends rows and rejects."""
        if rows.images_ND is not None:
            self._vectors[IMAGES].append(rows.images_ND)
        if rows.texts_ND is not None:
            self._vectors[TEXTS].append(rows.texts_ND)
        self._notes.add(rows.rows, {} if rows.captions is None else {"generated_caption": rows.captions})
        for reject in rows.rejects:
            line = {"id": reject.id, "reason": reject.reason}
            self._rejects.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.rows += len(rows.rows)
        self.rejected += len(rows.rejects)

    def commit(self, times: dict[str, float]) -> dict[str, Any]:
        """The record: the shard is on disk under its names, and then the record is."""
        begun = time.time()
        for vectors in self._vectors.values():
            vectors.complete()
        self._rejects.close()
        self._notes.write(self._files[METADATA], self._columns())
        files = {}
        for kind, path in self._files.items():
            final = self._shard.file(kind)
            files[str(final.relative_to(self._shard.out))] = described(path)
            publish(path, final)
        record = {
            "unit": self._shard.number,
            "sample_count": self.rows,
            "rejected": self.rejected,
            "files": files,
            **{name: round(seconds, 3) for name, seconds in times.items()},
            "write_duration": round(time.time() - begun, 3),
            "total_duration": round(time.time() - self._begun, 3),
            "start_time": _clock(self._begun),
            "end_time": _clock(time.time()),
        }
        text = json.dumps(record, indent=1)
        write_whole(self._shard.record, lambda path: path.write_text(text + "\n"), sync=True)
        sync_path(self._shard.record.parent)
        return record

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        """The vectors that the metadata repeat."""
        kinds = self._vectors if self._settings.vectors_in_parquet else ()
        return {kind: load_vectors(self._files[kind]) for kind in kinds}


class VectorFile:
    """An .npy file that grows: its header is written anew when the number of rows is known."""

    def __init__(self, path: Path, dtype: str, dim: int) -> None:
        self._file = path.open("wb")
        self._dtype, self._dim, self._rows = np.dtype(dtype).newbyteorder("<"), dim, 0
        self._file.write(self._header())

    def append(self, vectors_ND: npt.NDArray[np.float32]) -> None:
        """Adds rows at the end."""
        self._file.write(np.ascontiguousarray(vectors_ND, self._dtype).data)
        self._rows += len(vectors_ND)

    def complete(self) -> None:
        """Writes the header that counts the rows, and closes the file."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def close(self) -> None:
        """Closes the file as it is."""
        self._file.close()

    def _header(self) -> bytes:
        """As numpy itself writes it; it leaves room for the number of rows to grow."""
        buffer = io.BytesIO()
        shape = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, self._dim)}
        np.lib.format.write_array_header_1_0(buffer, shape)
        return buffer.getvalue()


def load_vectors(path: Path) -> npt.NDArray[Any]:
    """vectors_ND of an .npy file, read when they are looked at."""
    try:
        vectors_ND: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an array without rows cannot be mapped
        vectors_ND = np.load(path, allow_pickle=False)
    return vectors_ND


def temporary(path: Path) -> Path:
    """A name beside the path for the time of writing."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def publish(written: Path, path: Path) -> None:
    """Gives a file its name, once its content is on disk, and puts the name on disk as well."""
    sync_path(written)
    os.replace(written, path)
    sync_path(path.parent)


def described(path: Path) -> dict[str, Any]:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
