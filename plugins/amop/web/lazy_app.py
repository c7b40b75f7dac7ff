"""An ASGI application that is made when the first request for it comes.

Every Airflow process loads the plugin, but only the API server serves the page; the others must not load FastAPI,
templates and views for it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI


class LazyApp:
    """The operators' page, made on first use."""

    @staticmethod
    @cache
    def app() -> FastAPI:
        """Return the application."""
        from amop.web.app import create_app

        return create_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        await self.app()(scope, receive, send)
