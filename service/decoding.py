"""The decoding processes of the server: those of clip/decoding, with the errors of the service."""

from ..clip.decoding.pool import Decoders as Processes
from ..clip.decoding.pool import Prepared
from ..clip.errors import DecodingStopped, PictureTooLarge
from .errors import NotReady, TooLarge
from .threads import STOPPING


class Decoders(Processes):
    """As in clip/decoding/pool.py."""

    def prepare(self, image: bytes) -> Prepared:
        """What the recipe makes of an encoded picture; `InvalidImage` if it cannot be decoded."""
        try:
            return super().prepare(image)
        except DecodingStopped as error:
            raise NotReady(STOPPING) from error
        except PictureTooLarge as error:
            raise TooLarge(str(error)) from error
