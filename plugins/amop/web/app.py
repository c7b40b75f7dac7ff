"""The FastAPI application of the operators' page: its routes.

Every route needs a signed-in user who may see an integration, the files of the page included. A view is a GET and reads
only. The few buttons that write are POSTs that no other site can make a user's browser send.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from amop.web.access import readable_integrations, require_own_page
from amop.web.actions import ACTIONS
from amop.web.errors import add_error_pages
from amop.web.views import VIEWS


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="AMOP operators' page",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(readable_integrations)],
    )
    add_error_pages(app)
    for path, action in ACTIONS.items():
        app.add_api_route(
            path,
            action,
            methods=["POST"],
            response_model=None,
            response_class=HTMLResponse,
            dependencies=[Depends(require_own_page)],
        )
    for path, view in VIEWS.items():
        app.add_api_route(path, view, methods=["GET"], response_model=None, response_class=HTMLResponse)
    return app
