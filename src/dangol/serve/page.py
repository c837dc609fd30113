"""The pages: the live page at `/` and the OpenAPI page at `/docs`, from files of this machine alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

__all__ = ["add_pages"]

STATIC = Path(__file__).parent / "static"
REVALIDATE = {"Cache-Control": "no-cache"}
"""Asked for again each time and answered with 304 when unchanged: a new version shows at once."""


def add_pages(app: FastAPI) -> None:
    """Add `/`, `/docs` and their assets to `app`."""
    swagger = Path(str(files("fastapi_offline"))) / "static"
    app.router.routes.append(Route("/", _page("index.html")))
    app.router.routes.append(Route("/docs", _page("docs.html")))
    app.router.routes.append(Route("/favicon.ico", _page("icon.svg", "image/svg+xml")))
    app.mount("/static/swagger", _Files(directory=swagger), name="swagger")
    app.mount("/static", _Files(directory=STATIC), name="static")


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Serve one file, to be asked for again each time."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # passed on unchanged
        response.headers.update(REVALIDATE)
        return response


def _page(name: str, kind: str = "text/html") -> Callable[[Request], Awaitable[Response]]:
    async def page(_request: Request) -> FileResponse:
        return FileResponse(STATIC / name, media_type=kind, headers=REVALIDATE)

    return page
