"""Which gRPC status each error becomes, and what is told about it: the only place where errors meet codes."""

import logging
import re
import uuid
from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ..clip.errors import DecodingStopped, PictureTooLarge, UnusableVector
from ..errors import InvalidInput, MissingExtra
from ..index import errors as index
from . import errors as service
from .records import Fault

Code = grpc.StatusCode
logger = logging.getLogger(__name__)

TABLE: dict[type[BaseException], grpc.StatusCode] = {
    InvalidInput: Code.INVALID_ARGUMENT,
    UnusableVector: Code.INVALID_ARGUMENT,
    PictureTooLarge: Code.RESOURCE_EXHAUSTED,
    DecodingStopped: Code.UNAVAILABLE,
    MissingExtra: Code.UNIMPLEMENTED,
    MemoryError: Code.RESOURCE_EXHAUSTED,
    index.CollectionNotFound: Code.NOT_FOUND,
    index.CollectionExists: Code.ALREADY_EXISTS,
    index.CollectionBusy: Code.UNAVAILABLE,
    index.CollectionClosed: Code.UNAVAILABLE,
    index.CollectionAliased: Code.FAILED_PRECONDITION,
    index.FingerprintMismatch: Code.FAILED_PRECONDITION,
    index.VersionConflict: Code.ABORTED,
    index.UnsupportedFormat: Code.FAILED_PRECONDITION,
    index.CorruptCollection: Code.DATA_LOSS,
    index.CorruptSnapshot: Code.DATA_LOSS,
    index.StorageFull: Code.RESOURCE_EXHAUSTED,
    index.StorageFailed: Code.UNAVAILABLE,
    index.Unreachable: Code.UNAVAILABLE,
    index.Unsupported: Code.UNIMPLEMENTED,
    service.TooLarge: Code.RESOURCE_EXHAUSTED,
    service.PointNotFound: Code.NOT_FOUND,
    service.NotOffered: Code.UNIMPLEMENTED,
    service.Overloaded: Code.RESOURCE_EXHAUSTED,
    service.Unauthenticated: Code.UNAUTHENTICATED,
    service.Forbidden: Code.PERMISSION_DENIED,
    service.DeadlineExpired: Code.DEADLINE_EXCEEDED,
    service.NotReady: Code.UNAVAILABLE,
}
# Their messages name files of the server: the caller reads what the class says, the log has the rest.
PRIVATE = (
    MemoryError,
    index.CollectionBusy,
    index.UnsupportedFormat,
    index.CorruptCollection,
    index.CorruptSnapshot,
    index.StorageFull,
    index.StorageFailed,
    index.Unreachable,
)
MAX_MESSAGE = 1000  # characters: a status travels in headers, which clients limit to 8 KiB


def told(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The code and what the caller may read; of an error that is not in the table only an id for the log."""
    code = next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), None)
    if code is None:
        error_id = uuid.uuid4().hex[:12]
        logger.error("internal error %s", error_id, exc_info=error)
        return Code.INTERNAL, f"internal error {error_id}; the server's log says more"
    if isinstance(error, PRIVATE):
        logger.error("%s", error, exc_info=error)
        return code, (type(error).__doc__ or "").split("\n")[0]
    text = str(error)
    return code, text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"


def faults(errors: Mapping[int, Exception]) -> list[Fault]:
    """What is told about each failed entry of a batch, by position."""
    found = []
    for index_, error in sorted(errors.items()):
        code, message = told(error)
        found.append(Fault(index_, int(code.value[0]), message))
    return found


def to_status(error: BaseException) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """Code, message and trailers of the call that failed; the trailers carry google.rpc details."""
    code, message = told(error)
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in [*_details(error, message), *_reason(error, code)]:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if isinstance(error, service.Overloaded):
        trailers.append(("grpc-retry-pushback-ms", str(int(1000 * error.retry_after))))
    return code, message, tuple(trailers)


def _details(error: BaseException, message: str) -> list[Message]:
    if isinstance(error, InvalidInput):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=getattr(error, "field", ""), description=message
        )
        return [error_details_pb2.BadRequest(field_violations=[violation])]
    if isinstance(error, service.PointNotFound):
        return [error_details_pb2.ResourceInfo(resource_type="point", resource_name=error.id)]
    if isinstance(error, index.CollectionNotFound):
        return [error_details_pb2.ResourceInfo(resource_type="collection", description=message)]
    if isinstance(error, index.FingerprintMismatch):
        violation = error_details_pb2.PreconditionFailure.Violation(type="MODEL", description=message)
        return [error_details_pb2.PreconditionFailure(violations=[violation])]
    if isinstance(error, service.Overloaded):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(1000 * error.retry_after))
        return [retry]
    return []


def _reason(error: BaseException, code: grpc.StatusCode) -> list[Message]:
    """The class of the error as google.rpc.ErrorInfo, for programs that tell errors of one code apart."""
    if code is Code.INTERNAL:
        return []
    reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    return [error_details_pb2.ErrorInfo(reason=reason, domain="polylens")]
