"""The page's button "Classes" in a real browser: the class map over the picture, shares and colours."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from polylens.index import Store
from polylens.service.capabilities import Capabilities

from ..halves import Halves
from .browsing import Live, picture, tab, until

# The pixel of an image of the page at (x, y): "r,g,b".
PIXEL = """([id, x, y]) => {
  const image = document.getElementById(id), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  return [...pen.getImageData(x, y, 1, 1).data].slice(0, 3).join();
}"""


@pytest.fixture
def quarter(tmp_path: Path) -> Path:
    """A black picture, 120 x 80, whose upper left quarter is white."""
    pixels_HW = np.zeros((80, 120), np.uint8)
    pixels_HW[:40, :60] = 255
    Image.fromarray(pixels_HW).save(tmp_path / "quarter.png")
    return tmp_path / "quarter.png"


@pytest.fixture
def page(browser: Any, encoder: Any, tmp_path: Path) -> Iterator[Any]:
    """A tab at a server with one empty collection and a segmenter."""
    yield from opened(browser, encoder, tmp_path, Capabilities(segmenters=[Halves()]))


def opened(browser: Any, encoder: Any, folder: Path, able: Capabilities) -> Iterator[Any]:
    with Store(folder / "data") as store:
        store.create("empty", dim=encoder.dim, fingerprint=encoder.fingerprint)
    server = Live(folder / "data", encoder, {}, able)
    try:
        yield from tab(browser, server.url)
    finally:
        server.stop()


def attach(page: Any, file: Path) -> None:
    page.locator("#file").set_input_files(file)
    page.wait_for_selector("#attached:not([hidden])")


def test_the_classes_of_a_picture_are_shown_over_it(page: Any, quarter: Path) -> None:
    assert page.get_by_role("button", name="Classes").is_hidden()  # there is no picture yet
    attach(page, quarter)
    page.get_by_role("button", name="Classes").click()
    page.get_by_role("dialog", name="What is where").wait_for()
    until(page, "[...document.querySelectorAll('.layers img')].every(image => image.naturalWidth === 120)")
    assert page.locator("#segmented-shares li").all_inner_texts() == ["dark 75.0 %", "light 25.0 %"]
    swatches = "[...document.querySelectorAll('.swatch')].map(one => one.style.background)"
    assert page.evaluate(swatches) == ["rgb(0, 0, 64)", "rgb(255, 200, 0)"]
    seen = {place: page.evaluate(PIXEL, ["segmented-map", *place]) for place in ((10, 10), (100, 70))}
    assert seen == {(10, 10): "255,200,0", (100, 70): "0,0,64"}
    assert page.evaluate(PIXEL, ["segmented-picture", 10, 10]) == "255,255,255"
    picture(page, "classes")


def test_the_colours_fade_and_the_dialog_closes(page: Any, quarter: Path) -> None:
    attach(page, quarter)
    button, dialog = page.get_by_role("button", name="Classes"), page.get_by_role("dialog")
    button.click()
    dialog.wait_for()
    assert page.evaluate("document.getElementById('segmented-map').style.opacity") == "0.6"
    page.get_by_label("Colours").fill("0.25")
    assert page.evaluate("document.getElementById('segmented-map').style.opacity") == "0.25"
    page.keyboard.press("Escape")
    assert dialog.is_hidden() and button.is_enabled()
    page.get_by_role("button", name="Remove the picture").click()
    assert button.is_hidden()


def test_a_picture_that_fails_is_told_and_the_button_works_again(page: Any, quarter: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")  # Halves fails at one pixel
    page.locator("#file").set_input_files(
        {"name": "one.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    page.wait_for_selector("#attached:not([hidden])")
    button = page.get_by_role("button", name="Classes")
    button.click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "secret" not in page.get_by_role("alert").inner_text()
    assert page.get_by_role("dialog").count() == 0
    attach(page, quarter)
    button.click()
    page.get_by_role("dialog", name="What is where").wait_for()
    assert page.locator("#problem").is_hidden()


def test_without_a_segmenter_there_is_no_button(
    browser: Any, encoder: Any, tmp_path: Path, quarter: Path
) -> None:
    for page in opened(browser, encoder, tmp_path, Capabilities()):
        attach(page, quarter)
        assert page.locator("#segment").is_hidden()
