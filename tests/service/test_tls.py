"""Encrypted connections, certificates of callers, and certificates that change while the server runs."""

import asyncio
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from polylens.errors import InvalidInput
from polylens.proto.polylens.v1 import info_pb2
from polylens.service.errors import CannotListen
from polylens.service.methods import METHODS, path
from polylens.service.server import Server
from polylens.service.settings import Settings
from polylens.service.tls import Certificates


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """The certificate of a new authority; its key is beside it."""
    folder.mkdir(exist_ok=True)
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", key, "-out", certificate, "-days", 2, "-subj", f"/CN={name}")
    return certificate


def signed(by: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    key, request, certificate = (by.parent / f"{name}.{end}" for end in ("key", "csr", "pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-new", *curve, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    extensions = by.parent / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    authority_key = by.with_suffix(".key")
    signing = ("-CA", by, "-CAkey", authority_key, "-CAcreateserial", "-days", 2, "-extfile", extensions)
    openssl("x509", "-req", "-in", request, "-out", certificate, *signing)
    return certificate, key


async def info(address: str, ca: Path, pair: tuple[Path, Path] | None = None) -> str:
    """The model's name, or the code of the refusal."""
    chain, key = (None, None) if pair is None else (pair[0].read_bytes(), pair[1].read_bytes())
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key, chain)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        stub = channel.unary_unary(path(METHODS["GetInfo"]))
        try:
            return info_pb2.GetInfoResponse.FromString(await stub(b"", timeout=10)).model.name
        except grpc.aio.AioRpcError as error:
            return error.code().name


async def test_an_encrypted_server_answers_those_who_trust_it_and_nobody_in_the_clear(
    serve: Any, tmp_path: Path
) -> None:
    ca = authority(tmp_path / "ca", "ca")
    certificate, key = signed(ca, "server")
    async with serve(tmp_path / "data", tls_cert=certificate, tls_key=key) as service:
        assert await info(service.address, ca) == "fake"
        assert await info(service.address, authority(tmp_path / "other", "other")) == "UNAVAILABLE"
        async with grpc.aio.insecure_channel(service.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(path(METHODS["GetInfo"]))(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_with_an_authority_for_callers_only_those_it_signed_come_in(serve: Any, tmp_path: Path) -> None:
    ca, strangers = authority(tmp_path / "ca", "ca"), authority(tmp_path / "strangers", "ca")
    certificate, key = signed(ca, "server")
    flags = {"tls_cert": certificate, "tls_key": key}
    async with serve(tmp_path / "data", tls_client_ca=ca, **flags) as service:
        assert await info(service.address, ca, signed(ca, "caller")) == "fake"
        assert await info(service.address, ca) == "UNAVAILABLE"
        assert await info(service.address, ca, signed(strangers, "stranger")) == "UNAVAILABLE"
    # the control: without an authority the same strangers come in
    async with serve(tmp_path / "data", **flags) as service:
        assert await info(service.address, ca, signed(strangers, "stranger")) == "fake"


def replace(pair: tuple[Path, Path], new: tuple[Path, Path]) -> None:
    for old, fresh in zip(pair, new, strict=True):
        os.replace(fresh, old)


async def test_new_certificates_are_used_without_a_restart(serve: Any, tmp_path: Path) -> None:
    first, second = authority(tmp_path / "first", "ca"), authority(tmp_path / "second", "ca")
    pair = signed(first, "server")
    async with serve(tmp_path / "data", tls_cert=pair[0], tls_key=pair[1]) as service:
        assert await info(service.address, first) == "fake"
        assert await info(service.address, second) == "UNAVAILABLE"
        replace(pair, signed(second, "server"))
        await asyncio.sleep(1.1)
        assert await info(service.address, second) == "fake"
        assert await info(service.address, first) == "UNAVAILABLE"
        pair[1].write_text("broken")  # what was read before stays
        await asyncio.sleep(1.1)
        assert await info(service.address, second) == "fake"


def test_an_http_server_gets_the_new_certificate_too(tmp_path: Path) -> None:
    now = 0.0
    pair = signed(authority(tmp_path / "first", "ca"), "server")
    certificates = Certificates(*pair, clock=lambda: now)
    context = certificates.for_http()
    assert context.verify_mode is ssl.CERT_NONE
    assert not certificates.refresh()
    replace(pair, signed(authority(tmp_path / "second", "ca"), "server"))
    now = 2.0
    assert certificates.refresh() and not certificates.refresh()


async def test_with_certificate_and_callers_known_other_machines_may_come(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca", "ca")
    certificate, key = signed(ca, "server")
    flags = {"host": "0.0.0.0", "port": 0, "tls_cert": certificate, "tls_key": key}
    server = Server(Settings(**flags, tls_client_ca=ca))
    await server.stop(0)
    with pytest.raises(CannotListen, match="nobody is asked who they are"):
        Server(Settings(**flags))


def test_certificates_that_do_not_fit_are_refused_at_the_start(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca", "ca")
    (certificate, key), (_, other) = signed(ca, "server"), signed(ca, "other")
    for settings, words in (
        ({"tls_cert": certificate, "tls_key": other}, "cannot be used"),
        ({"tls_cert": tmp_path / "none", "tls_key": key}, "cannot be read"),
        ({"tls_cert": key, "tls_key": key}, "cannot be used"),
    ):
        with pytest.raises(InvalidInput, match=words):
            Server(Settings(port=0, **settings))
    for settings in ({"tls_cert": certificate}, {"tls_key": key}, {"tls_client_ca": ca}):
        with pytest.raises(InvalidInput, match="tls_cert and tls_key"):
            Settings(**settings)
