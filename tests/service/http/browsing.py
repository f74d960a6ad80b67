"""A server in a thread and tabs at its page, for the tests that drive a browser."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polylens.index import Store
from polylens.service.capabilities import NONE, Capabilities
from polylens.service.engine import Engine
from polylens.service.server import serving
from polylens.service.settings import Settings

# The pictures on the screen: others are fetched only when somebody comes near.
SEEN = "[...document.images].filter(image => image.getBoundingClientRect().top < innerHeight)"


class Live:
    """A server in a thread; `stop` ends it."""

    def __init__(
        self, data: Path, encoder: Any, files: Any, able: Capabilities = NONE, **settings: Any
    ) -> None:
        self._data, self._encoder, self._files, self._able = data, encoder, files, able
        self._settings = Settings(
            data=data, port=0, http_port=0, drain_seconds=0, grace_seconds=1, **settings
        )
        self._started, self.url = threading.Event(), ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._started.wait(60)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        engine = Engine(self._encoder, Store(self._data), self._settings, capabilities=self._able)
        async with serving(engine, pictures={"openmoji": self._files}) as server:
            self.url = server.web.url
            self._started.set()
            await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


def tab(browser: Any, url: str, **look: Any) -> Iterator[Any]:
    faults: list[str] = []
    context = browser.new_context(viewport=look.pop("viewport", {"width": 1280, "height": 860}), **look)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda request: faults.append(request.url) if foreign(request.url, url) else None)
    page.goto(url)
    yield page
    context.close()
    assert faults == []


def foreign(address: str, url: str) -> bool:
    return not address.startswith((url.removesuffix("docs"), "data:", "blob:"))


def picture(page: Any, name: str) -> None:
    """Keeps what the browser shows, when pictures are wanted."""
    if folder := os.environ.get("POLYLENS_SCREENSHOTS"):
        until(page, f"{SEEN}.every(image => image.complete)")
        page.screenshot(path=Path(folder) / f"{name}.png")


def until(page: Any, condition: str) -> None:
    """Returns when it holds. Playwright's own way is eval in the page, which the page's policy forbids."""
    end = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"it never came true that {condition}"
        page.wait_for_timeout(30)


def search(page: Any, text: str) -> list[str]:
    """The titles of what is found."""
    page.get_by_role("searchbox").fill(text)
    page.keyboard.press("Enter")
    return titles(page)


def titles(page: Any) -> list[str]:
    page.wait_for_timeout(30)  # for what a key or a click sets going
    until(page, "document.querySelector('#results').getAttribute('aria-busy') !== 'true'")
    return [str(one) for one in page.locator("#results .title").all_inner_texts()]
