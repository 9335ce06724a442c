"""What the addresses under ``/api`` answer, for their description at ``/api/openapi.json``. No rclpy."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel


class Answer(BaseModel):
    """Answer to every request: whether it was done, and one line for a human."""

    ok: bool
    message: str
    words: dict[str, Any] | None = None
    """The same line as a key of /words.json with its values, if the dashboard worded it."""


Answers = dict[int | str, dict[str, Any]]

#: Not as a model: FastAPI would give it the type of the address, which may be that of an image.
_ANSWER = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}}

#: Of every address.
REFUSALS: Answers = {
    400: {**_ANSWER, "description": "The body cannot be decoded"},
    403: {**_ANSWER, "description": "From another web site, or without the token"},
    409: {**_ANSWER, "description": "Refused, or no node answers"},
    413: {**_ANSWER, "description": "The request is too large"},
    422: {**_ANSWER, "description": "The request is malformed"},
    429: {**_ANSWER, "description": "Too many requests"},
    500: {**_ANSWER, "description": "A fault of the dashboard"},
}
#: Of an address that waits for the disk.
BUSY: Answers = {**REFUSALS, 503: {**_ANSWER, "description": "Too many requests wait for the disk already"}}
#: Of an address that answers with nothing else.
DONE: Answers = {200: {"model": Answer, "description": "Done"}}


class Jpeg(Response):
    """An image."""

    media_type = "image/jpeg"


class Binary(Response):
    """Bytes of the form that the address describes."""

    media_type = "application/octet-stream"


class Animation(Response):
    """Images that a browser plays."""

    media_type = "image/webp"
