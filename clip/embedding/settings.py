"""What a job is asked to do, and the parts that its source is cut into."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from ...errors import InvalidInput
from .samples import Reject, Sample

TAKE = ("images", "texts", "both")
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Settings:
    """The choices that decide what the output holds; a job that goes on must be given the same.

    `take`: which towers to use. `unit_size`: samples in a unit, except of tars, which are a unit each.
    `batch_size` is among them because floats depend on it. `vectors_in_parquet` adds the vectors to the
    metadata, `captions` what InternVL-G says about the pictures. Columns are those of tables; "" looks for
    the usual names.
    """

    take: str = "images"
    unit_size: int = 10_000
    batch_size: int = 32
    dtype: str = "float16"
    vectors_in_parquet: bool = False
    captions: bool = False
    image_column: str = ""
    caption_column: str = ""

    def __post_init__(self) -> None:
        for name, accepted in (("take", TAKE), ("dtype", DTYPES)):
            if getattr(self, name) not in accepted:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}, expected {' or '.join(accepted)}")
        if self.captions and not self.images:
            raise InvalidInput("captions are made of pictures: take images or both")
        for name in ("unit_size", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def images(self) -> bool:
        """Whether pictures become vectors."""
        return self.take != "texts"

    @property
    def texts(self) -> bool:
        """Whether texts become vectors."""
        return self.take != "images"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """The settings that were written; what a later version added keeps its default."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


@dataclass(frozen=True)
class Part:
    """A piece of a source in words of JSON, and how many samples it has where that is known."""

    where: dict[str, Any]
    samples: int | None


@dataclass(frozen=True)
class Unit:
    """The part of a source that one shard of the output holds: what is done at once, or done again."""

    number: int
    part: Part


class Kind(Protocol):
    """A kind of source: a module of sources/."""

    def parts(self, sources: Sequence[str], settings: Settings) -> Iterator[Part]: ...
    def read(self, part: Part, settings: Settings) -> Iterator[Sample | Reject]: ...
