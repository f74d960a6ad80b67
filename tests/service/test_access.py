"""Strangers stay outside: every method refuses whoever shows no token, a wrong one, or too weak a one.

Streams are asked through gRPC's synchronous client: where a server refuses a stream while its first message
is still being written, the one for asyncio may report INTERNAL in place of the status that came
(github.com/grpc/grpc/issues/36066).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from polylens.errors import InvalidInput
from polylens.service import methods
from polylens.service.access import Access
from polylens.service.errors import CannotListen, Forbidden, Overloaded, Unauthenticated
from polylens.service.methods import METHODS, SCOPE, path
from polylens.service.server import Server
from polylens.service.settings import Settings
from polylens.service.tokens import SCOPES, Attempts, Tokens, new_token, parse

Code = grpc.StatusCode


def write_tokens(file: Path, *scopes: str) -> list[str]:
    """A token of each scope, whose hashes are in the file."""
    made = [new_token(f"{scope}er", scope) for scope in scopes]
    file.write_text("# who may come in\n\n" + "\n".join(line for _, line in made))
    return [token for token, _ in made]


@asynccontextmanager
async def guarded(serve: Any, folder: Path) -> AsyncIterator[Callable[..., Any]]:
    """The code that each call of a method gets, from a server that knows a token of each scope."""
    known = dict(zip(SCOPES, write_tokens(folder / "tokens", *SCOPES), strict=True))

    async with (
        serve(folder / "data", tokens=folder / "tokens") as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        streams = grpc.insecure_channel(service.address)

        async def code(name: str, authorization: str | None) -> grpc.StatusCode:
            text = known.get(authorization or "", authorization)
            text = f"Bearer {text}" if text in known.values() else text
            metadata = [] if text is None else [("authorization", text)]
            try:
                if METHODS[name].client_streaming:
                    await replies(streams.stream_stream(path(METHODS[name])), b"", metadata)
                else:
                    await channel.unary_unary(path(METHODS[name]))(b"", metadata=metadata)
            except grpc.RpcError as error:
                return error.code()
            return Code.OK

        try:
            yield code
        finally:
            streams.close()


async def replies(stream: Any, request: Any, metadata: Any = ()) -> list[Any]:
    """What a stream of one request answers, while the event loop of this process, and its server, go on."""
    return await asyncio.to_thread(lambda: list(stream(iter([request]), metadata=metadata)))


def test_every_method_has_a_scope_and_every_scope_a_method() -> None:
    assert SCOPE.keys() - {"ServerReflection"} == METHODS.keys()
    assert set(SCOPE.values()) == set(SCOPES)
    writes = {name for name, method in METHODS.items() if not methods.only_reads(method)}
    assert {name for name, scope in SCOPE.items() if scope != "read"} == writes  # those that change something


async def test_every_method_refuses_strangers_and_weak_tokens(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempts, "wait", lambda *_: 0.0)
    async with guarded(serve, tmp_path) as code:
        for name in METHODS:
            for wrong in (None, "", "Bearer", "Bearer polylens_wrong", "Basic read"):
                assert await code(name, wrong) is Code.UNAUTHENTICATED, (name, wrong)
            for scope in SCOPES:
                enough = SCOPES.index(scope) >= SCOPES.index(SCOPE[name])
                got = await code(name, scope)
                assert (got is not Code.PERMISSION_DENIED) == enough, (name, scope, got)
                assert got is not Code.UNAUTHENTICATED


async def test_control_a_method_of_which_nobody_said_what_it_needs_needs_all(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SCOPE, "GetInfo")
    with pytest.raises(AssertionError):
        test_every_method_has_a_scope_and_every_scope_a_method()
    async with guarded(serve, tmp_path) as code:
        assert await code("GetInfo", "write") is Code.PERMISSION_DENIED
        assert await code("GetInfo", "admin") is Code.OK


async def test_control_without_tokens_everyone_is_let_in(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        assert (await service.client.info()).model.name == "fake"


async def test_health_is_open_and_reflection_is_not(serve: Any, tmp_path: Path) -> None:
    (token,) = write_tokens(tmp_path / "tokens", "read")
    async with (
        serve(tmp_path / "data", tokens=tmp_path / "tokens") as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with grpc.insecure_channel(service.address) as streams:
            ask = reflection_pb2_grpc.ServerReflectionStub(streams).ServerReflectionInfo
            with pytest.raises(grpc.RpcError) as refused:
                await replies(ask, request)
            assert refused.value.code() is Code.UNAUTHENTICATED
            (found,) = await replies(ask, request, [("authorization", f"bearer {token}")])
        assert len(found.list_services_response.service) >= len(methods.SERVICES)


async def test_a_request_of_a_stranger_is_not_even_read(serve: Any, tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", "read")
    async with (
        serve(tmp_path / "data", tokens=tmp_path / "tokens") as service,
        grpc.aio.insecure_channel(
            service.address, options=[("grpc.max_send_message_length", 64 << 20)]
        ) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:  # read, it would be RESOURCE_EXHAUSTED
            await channel.unary_unary(path(METHODS["Search"]))(bytes(32 << 20))
        assert refused.value.code() is Code.UNAUTHENTICATED


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tries(access: Access, tokens: list[str], address: str = "a") -> list[str]:
    """What each of the tokens gets, one after the other."""
    got = []
    for token in tokens:
        try:
            got.append(access.check(f"Bearer {token}", address, "read").name)
        except (Unauthenticated, Overloaded, Forbidden) as error:
            got.append(type(error).__name__)
    return got


def test_guessing_is_slowed_down_and_harms_nobody_who_was_known_before(tmp_path: Path, clock: Clock) -> None:
    (good, new) = write_tokens(tmp_path / "tokens", "read", "write")
    access = Access(Tokens(tmp_path / "tokens", clock), Attempts(burst=3, seconds=10, clock=clock))
    assert tries(access, [good]) == ["reader"]
    assert tries(access, ["x"] * 5) == ["Unauthenticated"] * 3 + ["Overloaded"] * 2
    assert tries(access, [good, new]) == [
        "reader",
        "Overloaded",
    ]  # a right guess gets no further
    assert tries(access, [new, "x"], address="b") == ["writeer", "Unauthenticated"]
    clock.now += 10
    assert tries(access, ["x", "x"]) == ["Unauthenticated", "Overloaded"]
    with pytest.raises(Overloaded) as refused:
        access.check("Bearer x", "a", "read")
    assert refused.value.retry_after == pytest.approx(10)
    clock.now += 1000
    assert tries(access, [new]) == ["writeer"]


def test_control_without_a_bound_guessing_goes_on(tmp_path: Path, clock: Clock) -> None:
    (good,) = write_tokens(tmp_path / "tokens", "read")
    access = Access(Tokens(tmp_path / "tokens", clock), Attempts(burst=10**9, clock=clock))
    assert tries(access, [*["x"] * 100, good])[-1] == "reader"


def test_addresses_do_not_fill_the_memory(clock: Clock) -> None:
    attempts = Attempts(burst=1, most=3, clock=clock)
    for address in "abcd":
        attempts.failed(address)
    assert [attempts.wait(address) > 0 for address in "abcd"] == [False, True, True, True]


def test_tokens_are_read_anew_when_the_file_changes_and_stay_when_it_is_broken(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    (old,) = write_tokens(file, "read")
    tokens = Tokens(file, clock)
    (new,) = write_tokens(file, "admin")
    assert tokens.holder(new.encode()) is None  # looked at once a second
    clock.now += 2
    assert tokens.holder(old.encode()) is None
    assert tokens.holder(new.encode()).scope == "admin"
    file.write_text("nonsense secret")
    clock.now += 2
    assert tokens.holder(new.encode()) is not None
    assert "stay as they were" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize("line", ["a read", "a read abc", "a all " + "0" * 64, "a read " + "0" * 64 + " b"])
def test_a_bad_line_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(InvalidInput, match="line 2 ") as refused:
        parse(f"# comment\n{line}\n")
    assert line not in str(refused.value)


def test_the_file_holds_no_token(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", *SCOPES)
    text = (tmp_path / "tokens").read_text()
    assert all(token not in text and len(token) > 40 for token in tokens)
    with pytest.raises(InvalidInput):
        new_token("two words", "read")
    with pytest.raises(InvalidInput):
        new_token("a", "root")


@pytest.mark.parametrize("content", [None, "", "# none\n"])
def test_a_server_without_a_usable_file_does_not_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(InvalidInput):
        Server(Settings(port=0, tokens=tmp_path / "tokens"))


def test_tokens_alone_do_not_open_the_server_to_other_machines(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", "read")
    with pytest.raises(CannotListen, match="nothing is encrypted"):
        Server(Settings(host="0.0.0.0", port=0, tokens=tmp_path / "tokens"))
