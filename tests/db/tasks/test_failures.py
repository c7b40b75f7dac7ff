"""The final failure of a task is recorded whatever its text is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from amop.database.connection import transaction
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.sync_runs import end_run, load_run
from amop.tasks import failures
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Unprintable(Exception):
    """An error whose text cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture
def run_id(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> int:
    load_sandbox_reference(warehouse_dsn)
    monkeypatch.setattr(failures, "warehouse_conninfo", lambda: warehouse_dsn)
    monkeypatch.setattr(failures, "deliver_session_messages", lambda _session_id: None)
    request = SyncRequest("jasper", "device_sync_jasper", "test", optimization="never")
    return open_runs(warehouse_dsn, request, now=NOW)[0].run_id


def error_of(dsn: str, run_id: int) -> tuple[str, str | None]:
    with transaction(dsn, application_name="test") as connection:
        run = load_run(connection, run_id)
    return run.status, run.error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("account \x00 \ud800 suspended"), r"account \x00 \ud800 suspended"),
        (ValueError(), "ValueError"),
        (Unprintable(), "Unprintable, whose text cannot be shown (RuntimeError)"),
        (ValueError("you sent Basic YXBpX3Vz2VyOmtleQ=="), "you sent Basic ***"),
    ],
)
def test_any_error_ends_the_run_with_a_storable_text(
    warehouse_dsn: str, run_id: int, error: Exception, text: str
) -> None:
    failures.record_failure(error, sync_run_id=run_id)
    assert error_of(warehouse_dsn, run_id) == ("failed", text)


def test_a_text_that_cannot_be_recorded_is_replaced_by_the_type_of_the_error(
    warehouse_dsn: str, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: object, run_id: int, status: str, text: str, **rest: object) -> None:
        if "suspended" in text:
            raise RuntimeError("this text is not stored")
        end_run(connection, run_id, status, text, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(failures, "end_run", refuse)
    failures.record_failure(ValueError("suspended"), sync_run_id=run_id)
    assert error_of(warehouse_dsn, run_id) == (
        "failed",
        "ValueError; its text could not be recorded, see the log of the task",
    )
