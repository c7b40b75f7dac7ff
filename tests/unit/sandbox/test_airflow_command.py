"""``make airflow`` refuses the one command that deletes a real run."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from sandbox.cli import app, is_test_without_date


@pytest.mark.parametrize(
    ("arguments", "is_refused"),
    [
        ("tasks test device_sync_jasper select_providers", True),
        ("tasks test -v device_sync_jasper select_providers", True),
        ("tasks test device_sync_jasper sync.fetch_devices --map-index 0", True),
        ("tasks test device_sync_jasper sync.fetch_devices --map-index 0 2026-11-20", False),
        ("tasks test device_sync_jasper select_providers 2026-11-20", False),
        ("tasks test device_sync_jasper select_providers manual__x", False),
        ("tasks test --help", False),
        ("dags test device_sync_jasper", False),
        ("tasks list device_sync_jasper", False),
    ],
)
def test_a_trial_of_a_task_needs_a_date_or_a_run_id(arguments: str, *, is_refused: bool) -> None:
    assert is_test_without_date(arguments.split()) is is_refused


def test_the_refusal_says_what_would_be_deleted() -> None:
    result = CliRunner().invoke(app, ["airflow", "tasks", "test", "carrier_optimization_jasper", "open_instance"])
    assert result.exit_code == 2
    assert "Without one Airflow deletes the run of this DAG" in " ".join(result.output.split())
