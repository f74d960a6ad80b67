"""Pictures that kill, hang or bloat their decoder harm nobody but themselves."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from polylens.backbone.images import open_image
from polylens.backbone.pixels import Preprocess, on_white, upright
from polylens.clip.decoding import pool
from polylens.clip.decoding.pool import Decoders
from polylens.clip.errors import DecodingStopped, InvalidImage, PictureTooLarge
from polylens.clip.recipe import DECODE_ONLY, prepared, read, written

PREPROCESS = Preprocess("service", 32)
# What stands in for a fault of Pillow: a decoder that does harm when it sees certain sizes of pictures.
HARMFUL = f"""
import os, time, sys
sys.path[:0] = [{str(Path(__file__).parents[3])!r}]
from polylens.clip.decoding import process as decoder
prepared = decoder.prepared
def harmful(recipe, image):
    made = prepared(recipe, image)
    import polylens.backbone.images as images
    match images.open_image(image).width:
        case 61: os.abort()
        case 62: os.kill(os.getpid(), 11)
        case 63: time.sleep(60)
        case 64: bytearray(1 << 30)
        case 66: os.write(int(sys.argv[1]), b"nonsense that is no message" * 9)
        case 67: os._exit(0)
    return made
decoder.prepared = harmful
decoder.main()
"""


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def of_width(width: int) -> bytes:
    return encoded(Image.new("RGB", (width, 40), (width, 90, 20)))


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes whose decoder does harm."""
    begin = subprocess.Popen

    def doctored(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        return begin([command[0], "-c", HARMFUL, *command[3:]], **how)  # type: ignore[call-overload]

    monkeypatch.setattr(pool.subprocess, "Popen", doctored)


@pytest.fixture
def decoders() -> Iterator[Callable[..., Decoders]]:
    made: list[Decoders] = []

    def make(count: int = 1, recipe: str = written(PREPROCESS), **how: float) -> Decoders:
        made.append(Decoders(count, recipe, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


PICTURES = {
    "rgb": encoded(Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB"), "JPEG"),
    "grey": encoded(Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50)),
    "palette": encoded(Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB").quantize(9)),
    "alpha": encoded(Image.new("RGBA", (9, 9), (10, 200, 30, 99))),
    "bits": encoded(Image.new("1", (9, 9), 1)),
    "deep": encoded(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30) * 70)),
    "cmyk": encoded(Image.new("CMYK", (9, 9), (10, 200, 30, 99)), "JPEG"),
    "webp": encoded(Image.new("RGB", (9, 9), (10, 200, 30)), "WEBP"),
}


def test_recipes_are_read_as_they_were_written() -> None:
    assert read(written(PREPROCESS)) == PREPROCESS


def test_pixels_are_those_that_this_process_would_make(decoders: Callable[..., Decoders]) -> None:
    two, plain = decoders(2), decoders(1, DECODE_ONLY)
    for picture in PICTURES.values():
        assert np.array_equal(two.prepare(picture), PREPROCESS(open_image(picture)))
        image = plain.prepare(picture)
        assert isinstance(image, Image.Image)
        wanted = on_white(upright(open_image(picture)))
        assert (image.mode, image.size) == (wanted.mode, wanted.size)
        assert np.array_equal(image.convert("RGB"), wanted.convert("RGB"))


def test_what_is_no_picture_is_refused_in_the_words_of_the_encoder(decoders: Callable[..., Decoders]) -> None:
    one = decoders()
    for bad in (b"GIF89a", of_width(40)[:60], b""):
        with pytest.raises(InvalidImage) as here:
            prepared(written(PREPROCESS), bad)
        with pytest.raises(InvalidImage) as there:
            one.prepare(bad)
        assert str(there.value) == str(here.value)
    assert one.restarts == 0


@pytest.mark.usefixtures("harmful")
@pytest.mark.parametrize("width", [61, 62, 66, 67])
def test_a_picture_that_kills_its_decoder_is_tried_twice_and_then_refused(
    decoders: Callable[..., Decoders], width: int
) -> None:
    one = decoders()
    with pytest.raises(InvalidImage, match="breaks the decoder"):
        one.prepare(of_width(width))
    assert one.restarts == 2
    assert isinstance(one.prepare(of_width(40)), np.ndarray)
    with pytest.raises(InvalidImage, match="before"):  # it is known by now, and costs nothing
        one.prepare(of_width(width))
    assert one.restarts == 2


@pytest.mark.usefixtures("harmful")
def test_neighbours_of_a_deadly_picture_are_decoded(decoders: Callable[..., Decoders]) -> None:
    two = decoders(2)
    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(two.prepare, of_width(width)) for width in (61, 40, 41, 62, 42, 43)]
    assert [task.exception() is None for task in tasks] == [False, True, True, False, True, True]


@pytest.mark.usefixtures("harmful")
def test_time_and_memory_are_bounded(
    decoders: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = decoders(1, seconds=1.0, memory=300 << 20)
    one.prepare(of_width(40))
    begun = time.monotonic()
    with pytest.raises(InvalidImage, match="longer than 1 s"):
        one.prepare(of_width(63))
    assert time.monotonic() - begun < 10
    with pytest.raises(PictureTooLarge):
        one.prepare(of_width(64))
    assert isinstance(one.prepare(of_width(41)), np.ndarray)


@pytest.mark.usefixtures("harmful")
def test_control_without_bounds_the_memory_is_had(decoders: Callable[..., Decoders]) -> None:
    assert isinstance(decoders(1, memory=4 << 30).prepare(of_width(64)), np.ndarray)


def test_a_process_killed_from_outside_is_replaced_and_nobody_notices(
    decoders: Callable[..., Decoders],
) -> None:
    two = decoders(2)
    two.prepare(of_width(40))
    for process in list(two._all):
        os.kill(process._process.pid, signal.SIGKILL)
    assert all(isinstance(two.prepare(of_width(41)), np.ndarray) for _ in range(3))
    assert 1 <= two.restarts <= 2


def test_closing_ends_the_processes_and_whoever_waits(decoders: Callable[..., Decoders]) -> None:
    one = decoders()
    one.prepare(of_width(40))
    (process,) = one._all
    os.kill(process._process.pid, signal.SIGSTOP)  # now it hangs
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.prepare, of_width(41))
        time.sleep(0.1)
        one.close()
        assert isinstance(waiting.exception(10), DecodingStopped)
    assert process._process.poll() is not None


def test_a_process_that_fails_while_all_are_ended_disturbs_nobody(
    decoders: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = decoders()
    (process,) = one._all
    with ThreadPoolExecutor(1) as pool:
        kill, replacing = process.kill, []

        def kill_slowly() -> None:
            monkeypatch.setattr(process, "kill", kill)
            replacing.append(pool.submit(one._replace, process))
            time.sleep(0.2)  # long enough to fall out of what `close` goes through, were it let
            kill()

        monkeypatch.setattr(process, "kill", kill_slowly)
        one.close()
        assert isinstance(replacing[0].exception(10), DecodingStopped)
    assert one.restarts == 1


def test_control_without_processes_such_a_picture_ends_the_program() -> None:
    program = HARMFUL.replace("decoder.main()", "decoder.answer(sys.argv[1], sys.stdin.buffer.read())")
    done = subprocess.run(
        [sys.executable, "-c", program, DECODE_ONLY], input=of_width(61), capture_output=True
    )
    assert done.returncode == -signal.SIGABRT


def test_the_program_needs_no_torch() -> None:
    program = "import sys, polylens.clip.decoding.process; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_many_threads_share_few_processes(decoders: Callable[..., Decoders]) -> None:
    two = decoders(2)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(two.prepare, [of_width(width) for width in range(8, 40)]))
    assert [one.shape for one in made] == [(3, 32, 32)] * 32
