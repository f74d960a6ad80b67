"""What holds for every route: health, limits shared with gRPC, headers, hosts, hanging up, stopping."""

import asyncio
import re
import socket
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from polylens.errors import MissingExtra
from polylens.service import server as server_module
from polylens.service.access import Access
from polylens.service.admission import Gate
from polylens.service.errors import CannotListen, RemoteError
from polylens.service.http import door, listener
from polylens.service.http.app import Parts, guarded, open_pages
from polylens.service.http.door import Door
from polylens.service.http.openapi import document
from polylens.service.metrics import Metrics
from polylens.service.observing import Observer
from polylens.service.server import Server
from polylens.service.settings import Limits, Settings
from polylens.service.tokens import Attempts, new_token


def new_door() -> Door:
    return Door(Gate(1, 1, {}), Access(), Observer(Metrics()), Limits())


async def test_health_and_readiness(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        assert (await ask(web, "/healthz")).json == {"status": "alive"}
        assert (await ask(web, "/readyz")).json == {"status": "ready"}
        service.server._health.drain()
        assert (await ask(web, "/readyz")).status == 503
        assert (await ask(web, "/healthz")).status == 200


async def test_unknown_paths_and_methods_are_json(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        for path, content, status, code in (
            ("/v1/nothing", None, 404, "not_found"),
            ("/static/../app.py", None, 404, "not_found"),
            ("/static/%2e%2e/app.py", None, 404, "not_found"),
            ("/v1/search", None, 405, "method_not_allowed"),
            ("/healthz", {}, 405, "method_not_allowed"),
        ):
            got = await ask(web, path, content)
            assert (got.status, got.error["code"]) == (status, code)


async def test_every_reply_has_its_headers(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        for path in ("/", "/docs", "/v1/collections", "/nothing"):
            headers = (await ask(service.server.web.address, path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "cache-control" in headers and "server" not in headers
        page = await ask(service.server.web.address, "/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        again = await ask(service.server.web.address, "/", if_none_match=page.headers["etag"])
        assert (again.status, again.content) == (304, b"")


async def test_the_document_describes_exactly_the_routes(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        parts = Parts(service.engine, new_door(), lambda: True, bytes)
        served = {(method, path.replace(":path", "")) for method, path, _ in guarded(parts)}
        pages = {path for path in open_pages(parts) if not path.startswith("/static/")} - {"/", "/docs"}
        served |= {("GET", path) for path in pages}
        got = await ask(service.server.web.address, "/openapi.json")
        assert got.json == document(Limits())
        described = {(m.upper(), path) for path, methods in got.json["paths"].items() for m in methods}
        assert described == served
        docs = (await ask(service.server.web.address, "/docs")).content.decode()
        assert all(path in docs for _, path in served)
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", docs)


async def test_a_host_that_is_not_ours_is_refused_on_loopback(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        for host, status in (
            ("evil.example", 421),
            ("localhost:80", 200),
            ("127.0.0.1", 200),
            ("[::1]:9", 200),
        ):
            assert (await ask(web, "/v1/collections", host=host)).status == status
    async with serve(tmp_path, http_port=0, host="0.0.0.0", insecure=True) as service:  # the control
        web = f"127.0.0.1:{service.server.web.address.split(':')[1]}"
        assert (await ask(web, "/v1/collections", host="any.example")).status == 200


async def test_gRPC_and_HTTP_share_one_bound(
    serve: Any, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CALLS", 4)  # of which 3 may embed
    gate = threading.Event()
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        service.encoder.before = lambda: gate.wait(20)
        held = [asyncio.create_task(ask(web, "/v1/embeddings", {"input": f"{i}"})) for i in range(3)]
        while service.server._gate.calls.inside < 3:
            await asyncio.sleep(0.01)
        with pytest.raises(RemoteError) as raised:
            await service.client.embed_texts(["a"])
        assert raised.value.code == "RESOURCE_EXHAUSTED"
        refused = await ask(web, "/v1/embeddings", {"input": "a"})
        assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
        assert int(refused.headers["retry-after"]) >= 1 and int(refused.headers["retry-after-ms"]) > 0
        assert (await ask(web, "/healthz")).status == 200
        gate.set()
        assert [one.status for one in await asyncio.gather(*held)] == [200] * 3


async def test_who_hangs_up_is_forgotten(serve: Any, tmp_path: Path) -> None:
    gate = threading.Event()
    async with serve(tmp_path, http_port=0) as service:
        service.encoder.before = lambda: gate.wait(20)
        host, port = service.server.web.address.split(":")
        _, first = await send(host, port, b'{"input": "first"}')
        while service.server._gate.calls.inside < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        _, second = await send(host, port, b'{"input": "second"}')
        while service.server._gate.calls.inside < 2:
            await asyncio.sleep(0.01)
        second.close()
        async with asyncio.timeout(5):
            while service.server._gate.calls.inside > 1:
                await asyncio.sleep(0.01)
        gate.set()
        first.close()
        await asyncio.sleep(0.1)
        texts = [entry for entry in service.encoder.seen if isinstance(entry, list)]
        assert ["first"] in texts and ["second"] not in texts


async def send(host: str, port: str, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return reader, writer


async def test_who_does_not_come_to_the_point_is_cut_off(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.2)
    async with serve(tmp_path, http_port=0) as service:
        host, port = service.server.web.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_that_does_not_come_costs_only_its_time(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "READ_SECONDS", 0.3)
    async with serve(tmp_path, http_port=0) as service:
        host, port = service.server.web.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b"504 " in await asyncio.wait_for(reader.readline(), 5)
        assert service.server._gate.calls.inside == 0
        writer.close()


async def test_what_is_under_way_is_finished_when_the_server_stops(
    serve: Any, tmp_path: Path, ask: Any
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        service.encoder.before = lambda: time.sleep(0.4)
        under_way = asyncio.create_task(ask(web, "/v1/embeddings", {"input": "slow"}))
        await asyncio.sleep(0.2)
    assert (await under_way).status == 200
    with pytest.raises(OSError):
        await ask(web, "/healthz")


async def test_random_bytes_get_only_documented_replies(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(door, "READ_SECONDS", 0.2)
    random = Random(3)
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    good = f'{head}Content-Length: 13\r\n\r\n{{"text": "a"}}'.encode()
    async with serve(tmp_path, http_port=0) as service:
        host, port = service.server.web.address.split(":")
        await service.client.create_collection("c")
        seen = set()
        for _ in range(400):
            data = bytearray(good)
            for _ in range(random.randrange(1, 4)):
                data[random.randrange(len(data))] = random.randrange(256)
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(bytes(data))
            line = await asyncio.wait_for(reader.readline(), 10)
            seen.add(line.split(b" ")[1] if b" " in line else line)
            writer.close()
        assert seen <= {b"", b"200", b"400", b"404", b"405", b"413", b"421", b"501", b"504"}
        assert b"200" in seen and b"400" in seen
        assert (await service.client.info()).model.name == "fake"


async def test_a_port_in_use_and_a_missing_extra_are_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(CannotListen, match="cannot listen on 127.0.0.1"):
            Server(Settings(port=0, http_port=taken.getsockname()[1]))
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polylens\[http\]'"):
        Server(Settings(port=0, http_port=0))
    server = Server(Settings(port=0))  # the control: who wants no HTTP needs no extra
    await server.stop(0)


OPEN = {"/", "/docs", "/healthz", "/readyz", "/openapi.json"}


async def test_every_route_refuses_who_has_no_token_or_the_wrong_one(
    serve: Any, tmp_path: Path, ask_raw: Any
) -> None:
    """All routes of the application, so that none can be forgotten; `OPEN` and static files are free."""
    token, line = new_token("me", "read")
    (tmp_path / "tokens").write_text(line)
    async with serve(tmp_path / "data", http_port=0, tokens=tmp_path / "tokens") as service:
        web = service.server.web.address
        parts = Parts(service.engine, new_door(), lambda: True, bytes)
        closed = [(method, path) for method, path, _ in guarded(parts)]
        assert {path for path in open_pages(parts) if not path.startswith("/static/")} == OPEN
        for method, path in closed:
            path = path.replace("{collection}", "c").replace("{id:path}", "x")
            statuses = [
                (await asyncio.to_thread(ask_raw, web, method, path, b"{}", headers)).status
                for headers in (
                    {},
                    {"authorization": f"Basic {token}"},
                    {"authorization": "Bearer wrong"},
                    {"authorization": f"Bearer {token}", "content-type": "application/json"},
                )
            ]
            assert statuses[:3] == [401] * 3 and statuses[3] in (200, 400, 404, 501), (path, statuses)
            service.server._access._attempts = Attempts()


async def test_wrong_tokens_are_slowed_down_and_a_scope_too_small_is_refused(
    serve: Any, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, line = new_token("me", "read")
    (tmp_path / "tokens").write_text(line)
    monkeypatch.setitem(door.SCOPE, "ListCollections", "admin")
    async with serve(tmp_path / "data", http_port=0, tokens=tmp_path / "tokens") as service:
        web = service.server.web.address
        refused = await ask(web, "/v1/collections", authorization=f"Bearer {token}")
        assert (refused.status, refused.error["type"]) == (403, "permission_error")
        statuses = [(await ask(web, "/v1/models", authorization="Bearer no")).status for _ in range(12)]
        assert statuses[0] == 401 and statuses[-1] == 429
        assert (await ask(web, "/v1/models", authorization=f"Bearer {token}")).status == 200
