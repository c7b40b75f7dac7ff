"""The handles of the matrix: what an operator presses in Airflow, through its REST API, and waiting for the outcome."""

from __future__ import annotations

import time
from contextlib import suppress

from amop import ids
from sandbox.world.airflow_api import AirflowApi, AirflowApiError
from tests.worlds.matrix_cells import Action

POLL_SECONDS = 0.5
RUN_PREFIX = "matrix_"
"""Of the ids of all DAG runs of a matrix."""
READING_SECONDS = 4.0
"""An approval is answered this long after it was first seen, as by a person."""


def press(api: AirflowApi, action: Action, dag_id: str, run_id: str, task_id: str, map_index: int) -> None:
    """Press one handle on a task instance, or on its DAG run.

    Args:
        api: Airflow's API.
        action: what to press.
        dag_id: the DAG.
        run_id: its run.
        task_id: the task that has failed.
        map_index: of the task instance; -1 for a task that is not mapped.
    """
    run = f"/dags/{dag_id}/dagRuns/{run_id}"
    match action:
        case Action.CLEAR | Action.CLEAR_DOWNSTREAM:
            body = {
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": [[task_id, map_index] if map_index >= 0 else task_id],
                "only_failed": False,
                "include_downstream": action is Action.CLEAR_DOWNSTREAM,
            }
            api.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)
        case Action.CLEAR_FAILED | Action.CLEAR_RUN:
            api.request("POST", f"{run}/clear", {"dry_run": False, "only_failed": action is Action.CLEAR_FAILED})
        case Action.MARK_SUCCESS:
            _mark(api, run, task_id, map_index, "success")
        case Action.MARK_FAILED:
            with suppress(AirflowApiError):  # 409: it has failed already
                _mark(api, run, task_id, map_index, "failed")
            api.request("PATCH", f"{run}?update_mask=state", {"state": "failed"})
        case Action.DELETE_RUN:
            api.request("DELETE", run)


def _mark(api: AirflowApi, run: str, task_id: str, map_index: int, state: str) -> None:
    path = f"{run}/taskInstances/{task_id}" + (f"/{map_index}" if map_index >= 0 else "")
    api.request("PATCH", path, {"new_state": state})


class Approver:
    """Approves what the runs of the matrix request, as a person does; other requests are left alone.

    Args:
        api: Airflow's API.
    """

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._seen: dict[str, float] = {}

    def answer(self) -> None:
        """Answer the requests that have been pending for long enough to be read."""
        for approval in self._api.pending_approvals():
            task = approval["task_instance"]
            if not task["dag_run_id"].startswith(RUN_PREFIX):
                continue
            if time.monotonic() - self._seen.setdefault(task["id"], time.monotonic()) >= READING_SECONDS:
                with suppress(AirflowApiError):  # it was answered or withdrawn meanwhile
                    self._api.respond(approval, ids.APPROVE, comment="matrix")
