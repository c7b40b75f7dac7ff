"""The link from a task in Airflow to the view of the operators' page that shows what it did.

Airflow asks for it in its API server, for every task of every DAG; tasks of other packages have none.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from amop import ids
from amop.config import INTEGRATIONS

SESSION_RUN = re.compile(r"session_([0-9]{1,19})")
"""Run id of the optimization of a session (`amop.ids.optimization_run_id`)."""

VIEWS_OF_TASKS = {"cleanup.check_quality": "quarantine", "cleanup.notify_amop": "outbox"}
VIEWS_OF_DAGS = {
    ids.AMOP_RELAY_DAG: "outbox",
    ids.FINDINGS_DAG: "findings",
    ids.OPTIMIZATION_WINDOW_DAG: "sessions",
    ids.REALISED_SAVINGS_DAG: "savings",
    **{ids.what_if_dag(name): "what-if" for name in INTEGRATIONS},
}


class PageLink(BaseOperatorLink):
    """The link *AMOP* on a task."""

    name = "AMOP"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the view; empty for a task of another package."""
        view = view_of(ti_key.dag_id, ti_key.task_id, ti_key.run_id)
        if view is None:
            return ""
        return f"{urlsplit(conf.get('api', 'base_url', fallback='/')).path.rstrip('/')}/amop/{view}"


def view_of(dag_id: str, task_id: str, run_id: str) -> str | None:
    """Return the path of the view of a task below the page's address, None for a task of another package."""
    if dag_id in VIEWS_OF_DAGS:
        return VIEWS_OF_DAGS[dag_id]
    for name in INTEGRATIONS:
        if dag_id == ids.device_sync_dag(name):
            return VIEWS_OF_TASKS.get(task_id, "")
        if dag_id == ids.carrier_optimization_dag(name):
            found = SESSION_RUN.fullmatch(run_id)
            return f"session/{found[1]}" if found else "sessions"
    return None
