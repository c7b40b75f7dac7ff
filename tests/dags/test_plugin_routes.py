"""Routes that a plugin of this package adds to Airflow's server answer nobody who is not known.

FastAPI routes of an Airflow plugin are open to everybody unless they ask for a user themselves.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.routing import Mount
from starlette.testclient import TestClient

from amop.web.app import ACTIONS, VIEWS

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
PYTHON_PATH = os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
NOT_CHECKED = ("fastapi_root_middlewares", "flask_blueprints", "appbuilder_views", "appbuilder_menu_items")
"""Ways of a plugin to add something to the server that `open_routes` does not see."""

OPEN_PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from fastapi import APIRouter, FastAPI

app, router, inner = FastAPI(), APIRouter(), FastAPI()

@router.get("/routed/{iccid}")
def routed(iccid: str) -> str:
    return iccid

@inner.post("/mounted")
def mounted() -> str:
    return ""

app.include_router(router)
app.mount("/inner", inner)

class Open(AirflowPlugin):
    name = "open"
    fastapi_apps = [{"app": app, "url_prefix": "/open", "name": "open"}]
"""


def open_routes(app: FastAPI) -> list[str]:
    """Return the routes of an application that answer an anonymous caller with anything but 401 or 403."""
    client = TestClient(app, raise_server_exceptions=False)
    return [
        f"{method} {path}"
        for path, methods in routes(app.routes)
        for method in methods
        if client.request(method, path.replace("{", "").replace("}", "")).status_code not in {401, 403}
    ]


def routes(found: list[Any], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield path and methods of every route, those of mounted applications included."""
    for route in found:
        if isinstance(route, Mount):
            yield from routes(list(route.routes), prefix + route.path)
        elif isinstance(route, APIRoute):
            yield prefix + route.path, sorted(route.methods)


def plugins_of(folder: Path) -> list[Any]:
    """Return the classes of Airflow's plugins in the files of a plugins folder."""
    from airflow.plugins_manager import AirflowPlugin

    found = []
    for path in sorted(folder.rglob("*_plugin.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, AirflowPlugin) and value is not AirflowPlugin
        ]
    return found


def apps_of(plugins: list[Any]) -> list[FastAPI]:
    """Return the applications that plugins add to the server; they add nothing else that answers requests."""
    for plugin in plugins:
        assert [name for name in NOT_CHECKED if getattr(plugin, name, [])] == []
    apps = [entry["app"] for plugin in plugins for entry in getattr(plugin, "fastapi_apps", [])]
    return [app if isinstance(app, FastAPI) else app.app() for app in apps]


def test_no_route_of_the_package_answers_an_anonymous_caller(airflow_database: Path) -> None:
    plugins = plugins_of(PLUGINS)
    assert [plugin.name for plugin in plugins] == ["amop"]
    (app,) = apps_of(plugins)  # the operators' page; tests/contract/page tests its rights
    assert sum(isinstance(route, APIRoute) for route in app.routes) == len(VIEWS) + len(ACTIONS)
    assert open_routes(app) == []


def test_the_plugin_loads_no_web_framework_into_other_processes() -> None:
    """Every task is a process that loads the plugin."""
    code = "import sys; import amop.web.lazy_app; print(sorted({'fastapi', 'jinja2', 'psycopg'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=PYTHON_PATH, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_the_plugins_that_are_checked_are_those_that_airflow_loads(airflow_database: Path) -> None:
    from airflow import plugins_manager

    loaded, _ = plugins_manager._get_plugins()
    ours = [plugin for plugin in loaded if plugin.name == "amop"]
    assert len(ours) >= 1
    assert {entry["name"] for plugin in ours for entry in plugin.fastapi_apps} == {
        entry["name"] for plugin in plugins_of(PLUGINS) for entry in getattr(plugin, "fastapi_apps", [])
    }


def test_an_open_route_of_a_plugin_would_be_found(airflow_database: Path, tmp_path: Path) -> None:
    (tmp_path / "open_plugin.py").write_text(OPEN_PLUGIN, encoding="utf-8")
    (app,) = apps_of(plugins_of(tmp_path))
    assert open_routes(app) == ["GET /routed/{iccid}", "POST /inner/mounted"]


def test_a_route_that_asks_for_a_user_is_not_open() -> None:
    app = FastAPI()

    @app.get("/closed")
    def answer(_user: Annotated[str, Security(HTTPBearer())]) -> str:
        return ""

    assert open_routes(app) == []
