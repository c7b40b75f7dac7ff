"""A client of Airflow's REST API v2, for the commands that press Airflow's buttons.

Address and credentials come from the environment: options would be visible to others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Self
from urllib.parse import quote

import requests

from amop import ids
from amop.carriers.http_connection import HttpConnectionError, read_http_connection

TIMEOUT_SECONDS = 30
TEXT_LENGTH = 300


class AirflowError(RuntimeError):
    """Airflow cannot be reached, or refuses a request; the message has the reason and the remedy."""


class AirflowClient:
    """Airflow's REST API v2.

    Args:
        address: scheme, host and port of the api-server, with its path where it has one.
        token: token of a user who may edit the DAG's task instances; None = request one.
        user: user to request a token with; None = request it without a user, as in the sandbox.
        password: password of that user.

    Raises:
        AirflowError: the address is malformed, has no TLS and is not local, or gives no token.
    """

    error: ClassVar[type[AirflowError]] = AirflowError
    """Error that this client raises."""
    refusals: ClassVar[dict[int, str]] = {
        403: "this user may not do that (403)",
        404: "Airflow has no such run or task (404)",
    }
    """Status → what it means."""

    def __init__(
        self, address: str, *, token: str | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        try:
            connection = read_http_connection(address, None, None, {})
        except HttpConnectionError as error:
            raise self.error(f"{ids.AIRFLOW_URL_SETTING}: {error}") from None
        self._address = connection.base_url
        self._session = requests.Session()
        self._session.trust_env = not connection.is_loopback
        self._session.headers["Authorization"] = f"Bearer {token or self._new_token(user, password)}"

    @classmethod
    def from_environment(cls) -> Self:
        """Return a client with the address and the credentials of the environment.

        Raises:
            AirflowError: the address is not set or not usable.
        """
        address = os.environ.get(ids.AIRFLOW_URL_SETTING) or os.environ.get("AIRFLOW__API__BASE_URL")
        if not address:
            raise cls.error(f"set {ids.AIRFLOW_URL_SETTING} to Airflow's address, like https://airflow.example.com")
        return cls(
            address,
            token=os.environ.get(ids.AIRFLOW_TOKEN_SETTING),
            user=os.environ.get(ids.AIRFLOW_USER_SETTING),
            password=os.environ.get(ids.AIRFLOW_PASSWORD_SETTING),
        )

    def has_run(self, dag_id: str, dag_run_id: str) -> bool:
        """Return False for a DAG run that Airflow does not have, or no longer.

        Raises:
            AirflowError: Airflow cannot be reached, or this user may not read the run.
        """
        answer = self._send("GET", f"/api/v2{self._run_path(dag_id, dag_run_id)}", None)
        if answer.status_code == requests.codes.not_found:
            return False
        self._checked(answer)
        return True

    def returned_value(self, dag_id: str, dag_run_id: str, task_id: str) -> Any:
        """Return what a task returned.

        Raises:
            AirflowError: it has not returned anything, or there is no such run.
        """
        path = f"{self._run_path(dag_id, dag_run_id)}/taskInstances/{quote(task_id, safe='')}/xcomEntries/return_value"
        value = self.request("GET", path, None, stringify="false").get("value")
        return json.loads(value) if isinstance(value, str) else value

    def clear(self, dag_id: str, dag_run_id: str, instances: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Clear task instances of a DAG run, which then runs them again; return those that Airflow has cleared.

        Args:
            dag_id: the DAG.
            dag_run_id: its run.
            instances: task ids with their map indexes.

        Raises:
            AirflowError: there is no such run, or this user may not clear it.
        """
        body = {
            "dry_run": False,
            "dag_run_id": dag_run_id,
            "task_ids": [list(instance) for instance in instances],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        answer = self.request("POST", f"/dags/{quote(dag_id, safe='')}/clearTaskInstances", body)
        return [(instance["task_id"], instance["map_index"]) for instance in answer["task_instances"]]

    @staticmethod
    def _run_path(dag_id: str, dag_run_id: str) -> str:
        return f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(dag_run_id, safe='')}"

    def _new_token(self, user: str | None, password: str | None) -> str:
        if user is not None:
            answer = self._send("POST", "/auth/token", {"username": user, "password": password or ""})
        else:
            answer = self._send("GET", "/auth/token", None)
        if not answer.ok:
            raise self.error(
                f"Airflow gives no token ({answer.status_code}); set {ids.AIRFLOW_TOKEN_SETTING}, or "
                f"{ids.AIRFLOW_USER_SETTING} and {ids.AIRFLOW_PASSWORD_SETTING}"
            )
        return str(self._document(answer).get("access_token", ""))

    def request(self, method: str, path: str, body: dict[str, Any] | None, **query: Any) -> dict[str, Any]:
        """Send a request to a path below ``/api/v2`` and return the JSON object of the answer.

        Raises:
            AirflowError: Airflow cannot be reached or refuses the request.
        """
        return self._checked(self._send(method, f"/api/v2{path}", body, **query))

    def _checked(self, answer: requests.Response) -> dict[str, Any]:
        """Return the JSON object of an answer; raise the error that a refusal means."""
        if answer.ok:
            return self._document(answer)
        detail = str(self._document(answer, needed=False).get("detail") or answer.reason)[:TEXT_LENGTH]
        if answer.status_code == 401:
            raise self.error(f"Airflow refused the token (401): set a new {ids.AIRFLOW_TOKEN_SETTING}")
        meaning = self.refusals.get(answer.status_code, f"Airflow returned {answer.status_code}")
        raise self.error(f"{meaning}: {detail}")

    def _send(self, method: str, path: str, body: dict[str, Any] | None, **query: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                f"{self._address}{path}",
                json=body,
                params=query,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self.error(
                f"Airflow cannot be reached at {self._address} ({type(error).__name__}); set {ids.AIRFLOW_URL_SETTING}"
            ) from None

    def _document(self, answer: requests.Response, *, needed: bool = True) -> dict[str, Any]:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if isinstance(document, dict):
            return document
        if needed:
            raise self.error(f"{answer.url.partition('?')[0]} is not Airflow's API: set {ids.AIRFLOW_URL_SETTING}")
        return {}
