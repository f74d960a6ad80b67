"""The pages: files of this package, read once, under a policy that lets nothing in from elsewhere."""

import hashlib
import html
import json
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)


class Page:
    """One file, to be asked for with GET; a caller who has it already is told so."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._headers = {
            "content-type": f"{kind}; charset=utf-8",
            "content-security-policy": POLICY,
            "cache-control": "no-cache",
            "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }

    async def answer(self, request: Request) -> Response:
        """The file, or that it has not changed."""
        if request.headers.get("if-none-match") == self._headers["etag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)


def static_pages() -> dict[str, Page]:
    """The page of each path: the search page at / and its style and program beside it."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            path = "/" if file.name == "index.html" else f"/static/{file.name}"
            found[path] = Page(file.read_bytes(), kind)
    return found


def docs_page(document: dict[str, Any]) -> Page:
    """The OpenAPI document for people to read."""
    parts = [
        f"<h1>{html.escape(document['info']['title'])}</h1>",
        _paragraph(document["info"]["description"]),
    ]
    parts.append(
        '<p>For programs: <a href="/openapi.json">openapi.json</a>. <a href="/">Search page</a>.</p>'
    )
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(_paragraph(one["summary"]))
            for media in one.get("requestBody", {}).get("content", {}).values():
                for name, example in media.get("examples", {}).items():
                    text = json.dumps(example["value"], ensure_ascii=False, indent=1)
                    parts.append(f"<h3>{html.escape(name)}</h3><pre tabindex=0>{html.escape(text)}</pre>")
    body = "\n".join(parts)
    return Page(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>polylens: HTTP API</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/static/page.css">'
        f'<main class="docs">{body}</main></html>'.encode(),
        KINDS[".html"],
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
