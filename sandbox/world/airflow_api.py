"""A client for the part of Airflow's REST API that the demo and the end-to-end tests use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

PARSE_TIMEOUT_SECONDS = 90
IDLE_TIMEOUT_SECONDS = 90
PAGE = 100
"""Task instances of one answer; Airflow's own limit (``[api] maximum_page_limit``)."""
ENDED = {"success", "failed"}


class AirflowApiError(RuntimeError):
    """Airflow refused a request or cannot load a DAG. The message says which and why."""


class AirflowApi:
    """A client of one Airflow whose SimpleAuthManager grants every user all rights, as in the sandbox.

    Args:
        address: scheme, host and port of the api-server.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._session = requests.Session()
        self._session.trust_env = False
        token = self._session.get(f"{address}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request below ``/api/v2`` and return its JSON document.

        Raises:
            AirflowApiError: the response has status 400 or above.
        """
        response = self._session.request(method, f"{self.address}/api/v2{path}", json=body, timeout=60)
        if not response.ok:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        return dict(response.json()) if response.content else {}

    def text_at(self, path: str) -> str:
        """Return what the API server answers at a path, such as a view of a plugin.

        Raises:
            AirflowApiError: the response has status 400 or above.
        """
        response = self._session.get(f"{self.address}{path}", timeout=60)
        if not response.ok:
            raise AirflowApiError(f"GET {path}: {response.status_code} {response.text[:500]}")
        return response.text

    def wait_for_dags(self, dag_ids: set[str], *, unpause: bool = True) -> None:
        """Wait until all DAGs are parsed, then unpause them by default.

        Raises:
            AirflowApiError: a DAG file cannot be imported, or a DAG is not parsed within 90 seconds.
        """
        deadline = time.monotonic() + PARSE_TIMEOUT_SECONDS
        while True:
            errors = self.request("GET", "/importErrors")["import_errors"]
            if errors:
                raise AirflowApiError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
            known = {dag["dag_id"] for dag in self.request("GET", "/dags?limit=100")["dags"]}
            if dag_ids <= known:
                break
            if time.monotonic() > deadline:
                raise AirflowApiError(
                    f"Airflow did not parse {sorted(dag_ids - known)} within {PARSE_TIMEOUT_SECONDS} s"
                )
            time.sleep(0.5)
        for dag_id in dag_ids if unpause else ():
            self.pause(dag_id, is_paused=False)

    def pause(self, dag_id: str, *, is_paused: bool) -> bool:
        """Pause or unpause a DAG and return whether it was paused before."""
        before = bool(self.request("GET", f"/dags/{dag_id}")["is_paused"])
        self.request("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": is_paused})
        return before

    @contextmanager
    def paused(self, dag_id: str) -> Iterator[None]:
        """Pause a DAG within the ``with`` block and restore its previous state afterwards."""
        was_paused = self.pause(dag_id, is_paused=True)
        try:
            yield
        finally:
            self.pause(dag_id, is_paused=was_paused)

    def wait_until_idle(self, dag_id: str) -> None:
        """Wait until no task of a paused DAG is queued or running any more: pausing ends none of them.

        Raises:
            AirflowApiError: a task still works after 90 seconds.
        """
        deadline = time.monotonic() + IDLE_TIMEOUT_SECONDS
        query = "state=queued&state=running&state=restarting&limit=1"
        while self.request("GET", f"/dags/{dag_id}/dagRuns/~/taskInstances?{query}")["total_entries"]:
            if time.monotonic() > deadline:
                raise AirflowApiError(f"a task of {dag_id} still works {IDLE_TIMEOUT_SECONDS} s after it was paused")
            time.sleep(0.2)

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Trigger a run and return its run id."""
        run = self.request("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run, or None if the run does not exist."""
        response = self._session.get(f"{self.address}/api/v2/dags/{dag_id}/dagRuns/{run_id}", timeout=60)
        return str(response.json()["state"]) if response.ok else None

    def pending_approvals(self) -> list[dict[str, Any]]:
        """Return the pending approvals of the UI's *Required Actions* page, oldest first."""
        query = "response_received=false&state=deferred&state=awaiting_input&order_by=created_at&limit=100"
        return list(self.request("GET", f"/dags/~/dagRuns/~/hitlDetails?{query}")["hitl_details"])

    def respond(self, approval: dict[str, Any], option: str, **params: Any) -> dict[str, Any]:
        """Respond to one of `pending_approvals` as the UI does.

        Args:
            approval: one of `pending_approvals`.
            option: ``Approve`` or ``Reject``.
            params: the values of the form.
        """
        task = approval["task_instance"]
        path = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        body = {"chosen_options": [option], "params_input": params}
        return self.request("PATCH", f"{path}/{task['map_index']}/hitlDetails", body)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run; Airflow gives them in pages."""
        found: list[dict[str, Any]] = []
        while True:
            query = f"limit={PAGE}&offset={len(found)}&order_by=id"
            page = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?{query}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found
