"""The files of the page, served by name from the fixed list of this package. No rclpy."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from mobile_vla_dashboard.wording import STATIC

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

#: Name in the address -> file. Read once: a request can only choose among these, whatever it asks for.
FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in _MEDIA_TYPES}
FILES["favicon.ico"] = FILES["favicon.svg"]

_HEADERS = {
    # Nothing from elsewhere runs in this page, and no other page may frame it to steal a click on Resume.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def pages() -> APIRouter:
    """Return the routes of the page and its files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> Response:
        return await file("index.html")

    @router.get("/{name}")
    async def file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "there is no such file on this page")
        path = FILES[name]
        return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=_HEADERS)

    return router
