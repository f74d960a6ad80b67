"""The server's decoding processes answer with the errors that status.py knows."""

import pytest
from polylens.clip.decoding.pool import Decoders as Processes
from polylens.clip.errors import DecodingStopped, InvalidImage, PictureTooLarge
from polylens.clip.recipe import DECODE_ONLY
from polylens.errors import PolylensError
from polylens.service.decoding import Decoders
from polylens.service.errors import NotReady, TooLarge


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(DecodingStopped("x"), NotReady), (PictureTooLarge("x"), TooLarge), (InvalidImage("x"), InvalidImage)],
)
def test_errors_are_those_of_the_service(
    raised: PolylensError, expected: type[PolylensError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Processes, image: bytes) -> None:
        raise raised

    monkeypatch.setattr(Processes, "prepare", refuse)
    with pytest.raises(expected):
        Decoders(0, DECODE_ONLY).prepare(b"")
