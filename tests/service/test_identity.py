"""Clients with tokens and certificates, against servers that ask for them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from polylens.errors import InvalidInput
from polylens.service.client import AsyncClient, Client, Identity, connect
from polylens.service.errors import RemoteError
from polylens.service.tokens import new_token


async def test_a_token_opens_what_its_scope_allows(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, line = new_token("me", "write")
    (tmp_path / "tokens").write_text(line)
    async with serve(tmp_path / "data", tokens=tmp_path / "tokens") as service:
        with pytest.raises(RemoteError) as raised:
            await service.client.info()
        assert raised.value.code == "UNAUTHENTICATED"
        async with AsyncClient(service.address, identity=Identity(token=token)) as client:
            assert (await client.info()).model.name == "fake"
            with pytest.raises(RemoteError) as raised:
                await client.create_collection("c")
            assert raised.value.code == "PERMISSION_DENIED"
            with pytest.raises(RemoteError) as raised:  # a stream carries the token as well
                await client.upsert(["a"], collection="c", vectors=[[1.0] * 16])
            assert raised.value.code == "NOT_FOUND"
        monkeypatch.setenv("POLYLENS_TOKEN", token)
        assert Identity.of_environment() == Identity(token=token) and token not in repr(Identity(token=token))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    where = ["-days", "2", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, *where, *names], check=True, capture_output=True)
    return files


async def test_encrypted(
    serve: Any, tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, key = certificate
    async with serve(
        tmp_path / "data", tls_cert=own, tls_key=key, tls_client_ca=own, drain_seconds=0
    ) as service:
        identity = Identity(ca=own, certificate=own, key=key)
        async with AsyncClient(service.address, identity=identity, timeout=5) as client:
            assert (await client.info()).model.name == "fake"
        async with AsyncClient(f"https://{service.address}", identity=identity, timeout=5) as client:
            assert (await client.info()).model.name == "fake"
        for stranger in (Identity(), Identity(ca=own)):
            async with AsyncClient(service.address, identity=stranger, timeout=2) as client:
                with pytest.raises(RemoteError):
                    await client.info()


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYLENS_CA", str(tmp_path / "absent.pem"))
    with pytest.raises(InvalidInput, match=r"absent.pem: No such file"):
        connect("localhost:1")
    Client("http://localhost:1").close()
