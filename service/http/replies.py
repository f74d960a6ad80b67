"""Replies as JSON, errors among them in the form that OpenAI's clients read."""

import asyncio
import math
from typing import Any

from starlette.responses import JSONResponse

from ...index.errors import StorageFull
from ..errors import InvalidField, Overloaded, TooLarge
from ..status import Code, told

# As Google's table of canonical codes has it, see google/rpc/code.proto.
STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
BIG = 64  # entries from which writing JSON takes long enough to hold up the event loop


def error_reply(error: BaseException) -> JSONResponse:
    """What the caller may know of the error, with its status."""
    code, message = told(error)
    status = STATUS.get(code, 500)
    if isinstance(error, TooLarge):
        status = 413
    if isinstance(error, StorageFull):
        status = 507
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(math.ceil(error.retry_after))
        headers["retry-after-ms"] = str(int(1000 * error.retry_after))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    field = error.field if isinstance(error, InvalidField) else None
    return problem(status, message, param=_param(field), code=code.name.lower(), headers=headers)


def problem(
    status: int, message: str, *, param: str | None = None, code: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error of that status."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    content = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(content, status, headers)


async def reply(content: dict[str, Any], entries: int = 0) -> JSONResponse:
    """The content as JSON; written in a thread if it has many entries."""
    if entries < BIG:
        return JSONResponse(content)
    return await asyncio.to_thread(JSONResponse, content)


def _param(field: str | None) -> str | None:
    """The field's name in JSON: those of the engine are paths in gRPC's messages."""
    if field is None:
        return None
    return field.removeprefix("query.").removesuffix("_json").replace(".query.", ".").replace(".parts[", "[")
