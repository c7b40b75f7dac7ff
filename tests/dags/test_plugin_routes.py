"""Routes that a plugin of this package adds to Airflow's server answer nobody who is not known.

FastAPI routes of an Airflow plugin are open to everybody unless they ask for a user themselves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

ROOT = Path(__file__).resolve().parents[2]


def open_routes(app: FastAPI) -> list[str]:
    """Return the routes of an application that answer an anonymous caller with anything but 401 or 403."""
    client = TestClient(app, raise_server_exceptions=False)
    return [
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
        if client.request(method, route.path.replace("{", "").replace("}", "")).status_code not in {401, 403}
    ]


def plugin_apps() -> Iterator[dict[str, Any]]:
    from airflow.plugins_manager import AirflowPlugin

    for path in (ROOT / "plugins").rglob("*_plugin.py"):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, AirflowPlugin) and value is not AirflowPlugin:
                assert not getattr(value, "fastapi_root_middlewares", [])
                yield from value.fastapi_apps


def test_no_route_of_the_package_answers_an_anonymous_caller(airflow_database: Path) -> None:
    assert [route for entry in plugin_apps() for route in open_routes(entry["app"])] == []


def test_an_open_route_would_be_found() -> None:
    app = FastAPI()

    @app.get("/open/{iccid}")
    def answer(iccid: str) -> str:
        return iccid

    assert open_routes(app) == ["GET /open/{iccid}"]
