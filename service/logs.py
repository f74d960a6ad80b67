"""Logs for people or, one JSON object on each line, for programs, without the content of requests."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from .observing import REQUEST_ID

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One object: time, level, logger, message, request_id, what the record tells, and where an error arose.

    Of an error only its type and the lines of code that it passed: its message may quote what a caller sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            told["request_id"] = request_id
        told |= getattr(record, "told", {})
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            told["error"] = type(error).__qualname__
            told["trace"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(told, ensure_ascii=False, default=str)


def begin(style: str) -> None:
    """Sends the log to stderr, "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else logging.Formatter(PLAIN))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
