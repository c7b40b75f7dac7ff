"""AMOP 2.0 as the pipeline sees it: takes progress messages and daily-sync notices, checks and records them.

    python -m sandbox.amop --port 8020 --record-file amop.jsonl

* A message of the wrong shape gets 400 with every reason. Where the environment variable
  ``SANDBOX_AMOP_TOKEN`` is set, a request without that bearer token gets 401.
* One ``Idempotency-Key`` is one message: a repeat gets 200 and is counted, the same key with another body
  gets 409.
* ``GET /sandbox/messages`` (in order), ``DELETE /sandbox/messages``; ``GET /sandbox/sessions``: per session
  guid the progress, the error and what is wrong with the order; ``GET /sandbox/stats``: requests, answers,
  refusals.
* ``POST /sandbox/faults`` ``{"status": 503, "times": 2, "path": null, "retry_after": null}``: the next
  requests fail; ``times`` null = until ``DELETE /sandbox/faults``.

In tests: ``with running_amop() as amop: amop.base_url``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from aiohttp import web

from sandbox.amop_shapes import daily_sync_errors, order_errors, progress_errors
from sandbox.background_server import LOOPBACK, BackgroundServer, start_site

TOKEN_VARIABLE = "SANDBOX_AMOP_TOKEN"  # noqa: S105 (the name of a variable)
PROGRESS_PATH = "/api/optimization_progress"
SYNC_PATH = "/api/daily_sync"
REMEMBERED_REFUSALS = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AmopServer:
    """Records what it is told; one event loop owns it."""

    def __init__(
        self,
        *,
        progress_path: str = PROGRESS_PATH,
        sync_path: str = SYNC_PATH,
        record_file: Path | None = None,
        token: str | None = None,
    ) -> None:
        """Take messages on two paths; go on after the record file; ask for the token if there is one.

        Raises:
            ValueError: the record file holds something else.
        """
        self._progress_path = progress_path
        self._sync_path = sync_path
        self._record_file = record_file
        self._token = token
        self._faults: list[dict[str, Any]] = []
        self._forget()
        if record_file is not None and record_file.exists():
            self._read_record(record_file)

    def _forget(self) -> None:
        self._messages: dict[str, dict[str, Any]] = {}
        self._answers: Counter[int] = Counter()
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

    def _receiver(self, kind: str, errors_of: Callable[[Any], list[str]]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            response = await self._receive(request, kind, errors_of)
            self._answers[response.status] += 1
            return response

        return handle

    async def _receive(self, request: web.Request, kind: str, errors_of: Callable[[Any], list[str]]) -> web.Response:
        given = request.headers.get("Authorization", "")
        if self._token is not None and not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return self._refuse(request, 401, ["the bearer token is missing or wrong"])
        fault = self._next_fault(request.path)
        if fault is not None:
            headers = {"Retry-After": str(fault["retry_after"])} if fault["retry_after"] is not None else None
            return web.json_response({"errors": ["scripted fault"]}, status=fault["status"], headers=headers)
        key = request.headers.get("Idempotency-Key", "")
        errors = [] if key else ["the header Idempotency-Key is missing"]
        try:
            body = await request.json()
        except ValueError:
            return self._refuse(request, 400, [*errors, "the body is not JSON"])
        errors += errors_of(body)
        if errors:
            return self._refuse(request, 400, errors)
        known = self._messages.get(key)
        if known is not None and (known["body"] != body or known["kind"] != kind):
            return self._refuse(request, 409, [f"Idempotency-Key {key} was used for another message"])
        self._record({"kind": kind, "path": request.path, "idempotency_key": key,
                      "received_at": datetime.now(UTC).isoformat(), "body": body})  # fmt: skip
        return web.json_response({"status": "ok", "is_repeat": known is not None})

    def _refuse(self, request: web.Request, status: int, errors: list[str]) -> web.Response:
        self._refusals.append({"path": request.path, "status": status, "errors": errors})
        del self._refusals[:-REMEMBERED_REFUSALS]
        return web.json_response({"errors": errors}, status=status)

    def _record(self, receipt: dict[str, Any]) -> None:
        """Keep a receipt, on disk before it is acknowledged."""
        if self._record_file is not None:
            with self._record_file.open("a", encoding="utf-8") as record:
                record.write(json.dumps(receipt) + "\n")
        self._remember(receipt)

    def _remember(self, receipt: dict[str, Any]) -> None:
        known = self._messages.get(receipt["idempotency_key"])
        if known is not None:
            known["repeats"] += 1
            return
        self._messages[receipt["idempotency_key"]] = receipt | {
            "number": len(self._messages) + 1,
            "repeats": 0,
        }

    def _read_record(self, record_file: Path) -> None:
        for number, line in enumerate(record_file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                self._remember(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{record_file}, line {number}: not a recorded message ({error})") from error

    def _next_fault(self, path: str) -> dict[str, Any] | None:
        for fault in self._faults:
            if fault["path"] in (None, path) and fault["times"] != 0:
                if fault["times"] is not None:
                    fault["times"] -= 1
                return fault
        return None

    # The pages of the sandbox itself

    async def _get_messages(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._messages.values()))

    async def _delete_messages(self, request: web.Request) -> web.Response:
        self._forget()
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
                "requests": sum(self._answers.values()),
                "answers_by_status": {str(status): count for status, count in sorted(self._answers.items())},
                "messages": len(self._messages),
                "messages_by_kind": dict(kinds),
                "repeats": sum(message["repeats"] for message in self._messages.values()),
                "refusals": self._refusals,
            }
        )

    async def _post_faults(self, request: web.Request) -> web.Response:
        fault = {"status": None, "times": 1, "path": None, "retry_after": None}
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
            return web.json_response({"errors": [f"times is {times!r}, not null or from 1 on"]}, status=400)
        self._faults.append(fault)
        return web.json_response({}, status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({})


class RunningAmop:
    """An AMOP in a thread, with its admin pages as methods."""

    def __init__(self, background: BackgroundServer, progress_path: str, sync_path: str) -> None:
        self._background = background
        self.base_url = background.base_url
        self.port = background.port
        self.progress_path = progress_path
        self.sync_path = sync_path

    def messages(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the messages in order, each once; ``kind`` is ``progress`` or ``daily_sync``."""
        messages: list[dict[str, Any]] = self._background.request("GET", "/sandbox/messages")
        return [message for message in messages if kind in (None, message["kind"])]

    def clear_messages(self) -> None:
        """Forget messages and figures."""
        self._background.request("DELETE", "/sandbox/messages")

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return per session guid: session_id, progress, errors, order_errors."""
        sessions: dict[str, dict[str, Any]] = self._background.request("GET", "/sandbox/sessions")
        return sessions

    def stats(self) -> dict[str, Any]:
        """Return requests, answers_by_status, messages, messages_by_kind, repeats, refusals."""
        stats: dict[str, Any] = self._background.request("GET", "/sandbox/stats")
        return stats

    def fail(
        self,
        status: int,
        *,
        times: int | None = 1,
        path: str | None = None,
        retry_after: int | str | None = None,
    ) -> None:
        """Answer the next requests with a status; ``times`` None = until `recover`."""
        fault = {"status": status, "times": times, "path": path, "retry_after": retry_after}
        self._background.request("POST", "/sandbox/faults", fault)

    def recover(self) -> None:
        """Stop failing."""
        self._background.request("DELETE", "/sandbox/faults")


@contextmanager
def running_amop(
    *,
    progress_path: str = PROGRESS_PATH,
    sync_path: str = SYNC_PATH,
    record_file: Path | None = None,
    token: str | None = None,
    port: int = 0,
) -> Iterator[RunningAmop]:
    """Run an AMOP in a thread on a free loopback port; the arguments are those of `AmopServer`."""
    server = AmopServer(progress_path=progress_path, sync_path=sync_path, record_file=record_file, token=token)
    background = BackgroundServer(server.application(), port=port)
    background.start()
    try:
        yield RunningAmop(background, progress_path, sync_path)
    finally:
        background.stop()


async def _serve(server: AmopServer, host: str, port: int) -> None:
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    runner, real_port = await start_site(server.application(), port, host)
    typer.echo(f"sandbox AMOP ready: http://{host}:{real_port}")
    await stop.wait()
    await runner.cleanup()


def main(
    port: Annotated[int, typer.Option(help="TCP port; 0 = a free one, printed when ready.")] = 8020,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    progress_path: Annotated[str, typer.Option(help="Where progress messages arrive.")] = PROGRESS_PATH,
    sync_path: Annotated[str, typer.Option(help="Where daily-sync notices arrive.")] = SYNC_PATH,
    record_file: Annotated[Path | None, typer.Option(help="JSON lines, appended; a restart goes on.")] = None,
) -> None:
    """Serve the sandbox AMOP until it is told to stop. The token comes from the environment only."""
    try:
        server = AmopServer(
            progress_path=progress_path,
            sync_path=sync_path,
            record_file=record_file,
            token=os.environ.get(TOKEN_VARIABLE) or None,
        )
    except ValueError as error:
        typer.echo(f"sandbox AMOP: {error}", err=True)
        raise typer.Exit(2) from None
    asyncio.run(_serve(server, host, port))


if __name__ == "__main__":
    typer.run(main)
