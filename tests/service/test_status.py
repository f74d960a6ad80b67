"""Every error of ours has its status code, and what is unexpected tells nothing but an id."""

import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from polylens import errors as root
from polylens.clip import errors as clip
from polylens.errors import InvalidInput, PolylensError
from polylens.index import errors as index
from polylens.service import errors as service
from polylens.service.status import PRIVATE, TABLE, faults, to_status, told

# Raised before a server answers anything, by clients only, or never as themselves.
ELSEWHERE = {
    PolylensError,
    index.CollectionError,
    service.CannotListen,
    service.RemoteError,
    service.BatchError,
}


def all_errors() -> set[type[PolylensError]]:
    found = set()
    for module in (root, clip, index, service):
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        found |= {cls for cls in classes if issubclass(cls, PolylensError)}
    return found - ELSEWHERE


@pytest.mark.parametrize("cls", sorted(all_errors(), key=lambda cls: cls.__name__))
def test_every_error_of_ours_has_a_code(cls: type[PolylensError]) -> None:
    codes = [TABLE[base] for base in cls.__mro__ if base in TABLE]
    assert codes, f"{cls.__name__} is not in the table of status.py"
    assert codes[0] not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)


def test_control_an_error_that_nobody_put_into_the_table_is_seen() -> None:
    class Forgotten(PolylensError):
        pass

    assert not [TABLE[base] for base in Forgotten.__mro__ if base in TABLE]


def test_the_unexpected_tells_only_an_id_and_the_log_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    code, message = told(KeyError("/etc/secret"))
    assert code is grpc.StatusCode.INTERNAL and "secret" not in message
    error_id = message.split()[2].rstrip(";")
    assert error_id in caplog.text and "/etc/secret" in caplog.text


@pytest.mark.parametrize("cls", [cls for cls in PRIVATE if cls is not MemoryError])
def test_paths_of_the_server_stay_in_the_log(cls: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    _, message = told(cls("/var/lib/polylens/photos: broken"))
    assert "/var" not in message and len(message) > 20
    assert "/var/lib/polylens/photos" in caplog.text


def test_long_messages_fit_into_headers() -> None:
    code, message, trailers = to_status(InvalidInput("x" * 100_000))
    assert len(message) < 1100
    assert sum(len(value) for _, value in trailers) < 4000


def test_overload_carries_advice_in_both_forms() -> None:
    code, message, trailers = to_status(service.Overloaded("10 are inside", 1.5))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(trailers)["grpc-retry-pushback-ms"] == "1500"
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, message)
    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry) and retry.retry_delay.ToMilliseconds() == 1500


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (service.TooLarge("17 MB"), "TOO_LARGE"),
        (index.StorageFull("/secret/path"), "STORAGE_FULL"),
        (service.InvalidField("k", "0"), "INVALID_FIELD"),
        (service.NotOffered("captions"), "NOT_OFFERED"),
    ],
)
def test_programs_tell_errors_of_one_code_apart(error: PolylensError, reason: str) -> None:
    _, _, trailers = to_status(error)
    details = dict(trailers)["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[-1].Unpack(info)
    assert (info.reason, info.domain) == (reason, "polylens") and b"/secret" not in details
    _, _, trailers = to_status(ValueError("a bug"))  # of which nothing is told
    assert not status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"]).details


def test_faults_of_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    found = faults({4: ValueError("secret"), 1: InvalidInput("the text is empty")})
    assert [(one.index, one.code) for one in found] == [(1, 3), (4, 13)]
    assert found[0].message == "the text is empty" and "secret" not in found[1].message
