"""The sandbox AMOP 2.0: receives, validates and records progress messages and daily-sync notices.

Run it with ``python -m sandbox.amop``; in tests use `sandbox.amop.running.running_amop`.

Callbacks:

* An invalid message gets 400 with every reason. If a bearer token is configured, a request without it gets 401.
* Messages are identified by ``Idempotency-Key``. A repeated message gets 200 and is counted as a repeat. The same key
  with another body gets 409.

Admin endpoints:

* ``GET /sandbox/messages``: all messages in order of arrival; ``DELETE`` removes them.
* ``GET /sandbox/sessions``: by session GUID, the progress values, the errors, and violations of the message order.
* ``GET /sandbox/stats``: number of requests, responses by status, refused requests.
* ``POST /sandbox/faults`` ``{"status": 503, "times": 2, "path": null, "retry_after": null, "error_message":
  "…"}``: fail the next requests; ``times`` null means until ``DELETE /sandbox/faults``.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.amop.message_checks import daily_sync_errors, order_errors, progress_errors

TOKEN_VARIABLE = "SANDBOX_AMOP_TOKEN"  # noqa: S105 (the name of a variable, no secret)
PROGRESS_PATH = "/api/optimization_progress"
SYNC_PATH = "/api/daily_sync"
KEPT_REFUSALS = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AmopServer:
    """Receive, validate and record messages. Not thread-safe: only its event loop may use it."""

    def __init__(
        self,
        *,
        progress_path: str = PROGRESS_PATH,
        sync_path: str = SYNC_PATH,
        record_file: Path | None = None,
        token: str | None = None,
    ) -> None:
        """Configure the server.

        Args:
            progress_path: path of the progress callback.
            sync_path: path of the daily-sync callback.
            record_file: JSON Lines file to append messages to; the messages already in it are loaded.
            token: bearer token that every request must carry; None requires none.

        Raises:
            ValueError: the record file has a line that is not a recorded message.
        """
        self._progress_path = progress_path
        self._sync_path = sync_path
        self._record_file = record_file
        self._token = token
        self._faults: list[dict[str, Any]] = []
        self._clear()
        if record_file is not None and record_file.exists():
            self._load_record(record_file)

    def _clear(self) -> None:
        self._messages: dict[str, dict[str, Any]] = {}
        self._responses: Counter[int] = Counter()
        self._refusals: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application()
        application.add_routes(
            [
                web.post(self._progress_path, self._receiver("progress", progress_errors)),
                web.post(self._sync_path, self._receiver("daily_sync", daily_sync_errors)),
                web.get("/sandbox/messages", self._get_messages),
                web.delete("/sandbox/messages", self._delete_messages),
                web.get("/sandbox/sessions", self._get_sessions),
                web.get("/sandbox/stats", self._get_stats),
                web.post("/sandbox/faults", self._post_faults),
                web.delete("/sandbox/faults", self._delete_faults),
            ]
        )
        return application

    def _receiver(self, kind: str, validate: Callable[[Any], list[str]]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            response = await self._receive(request, kind, validate)
            self._responses[response.status] += 1
            return response

        return handle

    async def _receive(self, request: web.Request, kind: str, validate: Callable[[Any], list[str]]) -> web.Response:
        header = request.headers.get("Authorization", "")
        if self._token is not None and not hmac.compare_digest(header.encode(), f"Bearer {self._token}".encode()):
            return self._refuse(request, 401, ["the bearer token is missing or wrong"])
        fault = self._next_fault(request.path)
        if fault is not None:
            headers = {"Retry-After": str(fault["retry_after"])} if fault["retry_after"] is not None else None
            return web.json_response({"errors": [fault["error_message"]]}, status=fault["status"], headers=headers)
        key = request.headers.get("Idempotency-Key", "")
        errors = [] if key else ["the header Idempotency-Key is missing"]
        try:
            body = await request.json()
        except ValueError:
            return self._refuse(request, 400, [*errors, "the body is not JSON"])
        errors += validate(body)
        if errors:
            return self._refuse(request, 400, errors)
        known = self._messages.get(key)
        if known is not None and (known["body"] != body or known["kind"] != kind):
            return self._refuse(request, 409, [f"Idempotency-Key {key} was used for another message"])
        self._record(
            {
                "kind": kind,
                "path": request.path,
                "idempotency_key": key,
                "received_at": datetime.now(UTC).isoformat(),
                "body": body,
            }
        )
        return web.json_response({"status": "ok", "is_repeat": known is not None})

    def _refuse(self, request: web.Request, status: int, errors: list[str]) -> web.Response:
        self._refusals.append({"path": request.path, "status": status, "errors": errors})
        del self._refusals[:-KEPT_REFUSALS]
        return web.json_response({"errors": errors}, status=status)

    def _record(self, message: dict[str, Any]) -> None:
        """Store a message; write it to the record file before the request is acknowledged."""
        if self._record_file is not None:
            with self._record_file.open("a", encoding="utf-8") as record:
                record.write(json.dumps(message) + "\n")
        self._count(message)

    def _count(self, message: dict[str, Any]) -> None:
        known = self._messages.get(message["idempotency_key"])
        if known is not None:
            known["repeats"] += 1
            return
        self._messages[message["idempotency_key"]] = message | {"number": len(self._messages) + 1, "repeats": 0}

    def _load_record(self, record_file: Path) -> None:
        for number, line in enumerate(record_file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                self._count(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{record_file}, line {number}: not a recorded message ({error})") from error

    def _next_fault(self, path: str) -> dict[str, Any] | None:
        for fault in self._faults:
            if fault["path"] in (None, path) and fault["times"] != 0:
                if fault["times"] is not None:
                    fault["times"] -= 1
                return fault
        return None

    # Admin endpoints

    async def _get_messages(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._messages.values()))

    async def _delete_messages(self, request: web.Request) -> web.Response:
        self._clear()
        if self._record_file is not None:
            self._record_file.unlink(missing_ok=True)
        return web.json_response({})

    async def _get_sessions(self, request: web.Request) -> web.Response:
        by_guid: dict[str, list[dict[str, Any]]] = {}
        for message in self._messages.values():
            if message["kind"] == "progress":
                data = message["body"]["data"]
                by_guid.setdefault(data["OptimizationSessionGuid"], []).append(data)
        sessions = {
            guid: {
                "session_id": messages[0]["SessionId"],
                "progress": [data["Progress"] for data in messages if data["job_name"] == "Progress"],
                "errors": [data["ErrorMessage"] for data in messages if data["job_name"] == "ErrorMessage"],
                "order_errors": order_errors(messages),
            }
            for guid, messages in by_guid.items()
        }
        return web.json_response(sessions)

    async def _get_stats(self, request: web.Request) -> web.Response:
        kinds = Counter(message["kind"] for message in self._messages.values())
        return web.json_response(
            {
                "requests": sum(self._responses.values()),
                "responses_by_status": {str(status): count for status, count in sorted(self._responses.items())},
                "messages": len(self._messages),
                "messages_by_kind": dict(kinds),
                "repeats": sum(message["repeats"] for message in self._messages.values()),
                "refusals": self._refusals,
            }
        )

    async def _post_faults(self, request: web.Request) -> web.Response:
        fault = {"status": None, "times": 1, "path": None, "retry_after": None, "error_message": "scripted fault"}
        try:
            document = await request.json()
            unknown = sorted(set(document) - set(fault))
            fault |= document
        except (ValueError, TypeError):
            return web.json_response({"errors": ["the body is not a JSON object"]}, status=400)
        times, status = fault["times"], fault["status"]
        if unknown or not isinstance(status, int) or not 400 <= status <= 599:
            return web.json_response({"errors": [f"unknown keys {unknown} or status {status!r}"]}, status=400)
        if times is not None and (not isinstance(times, int) or times < 1):
            return web.json_response({"errors": [f"times is {times!r}, neither null nor at least 1"]}, status=400)
        self._faults.append(fault)
        return web.json_response({}, status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({})
