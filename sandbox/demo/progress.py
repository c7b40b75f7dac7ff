"""Show the progress of the demo's device syncs and optimizations, on a terminal or in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

LOG_INTERVAL_SECONDS = 10

PROGRESS = """
SELECT
    provider.name,
    run.id AS run_id,
    run.dag_id,
    run.status,
    run.error,
    run.pages,
    run.list_is_complete,
    (SELECT count(DISTINCT iccid) FROM amop.device_staging AS staged WHERE staged.run_id = run.id) AS staged,
    (SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id) AS work_rows_left,
    run.work_rows_queued,
    session.id AS session_id,
    session.progress,
    session.error AS session_error,
    instance.changes_status
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
LEFT JOIN amop.optimization_session AS session ON run.optimization_session_id = session.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE run.dag_run_id = ANY(%(dag_run_ids)s)
ORDER BY provider.id
"""
"""One row for each device sync of the DAG runs, with its session and the status of its plan changes."""


@contextmanager
def progress_display(console: Console) -> Iterator[Any]:
    """Yield a function that shows rows of `PROGRESS`: as bars on a terminal, as occasional lines in a log."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda rows: live.update(_progress_table(rows))
        return
    begun = last = time.monotonic() - LOG_INTERVAL_SECONDS
    before = ""

    def show_line(rows: list[dict[str, Any]]) -> None:
        nonlocal last, before
        line = "; ".join(_progress_text(row) for row in rows)
        if line != before and time.monotonic() - last >= LOG_INTERVAL_SECONDS:
            console.print(f"{time.monotonic() - begun:4.0f} s  {line}")
            last, before = time.monotonic(), line

    yield show_line


def _progress_text(row: dict[str, Any]) -> str:
    counts = f"{row['staged']} SIMs, {row['pages']} pages, {row['work_rows_left']} work rows left"
    return f"{row['name']} {counts}, {_step(row)}"


def _progress_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(show_edge=False)
    for column in ("service provider", "SIMs", "pages", "work rows left", "AMOP", "", "status"):
        table.add_column(column, justify="right" if column in {"SIMs", "pages", "work rows left", "AMOP"} else "left")
    for row in rows:
        percent = row["progress"] or 0
        table.add_row(
            row["name"],
            f"{row['staged']:,}",
            f"{row['pages']:,}",
            f"{row['work_rows_left']:,}",
            f"{percent} %",
            ProgressBar(total=100, completed=percent, width=20),
            _step(row),
        )
    return table


def _step(row: dict[str, Any]) -> str:
    if row["status"] == "failed":
        return "failed"
    if row["session_error"]:
        return "optimization failed"
    if row["status"] == "complete":
        if row["session_id"] is None:
            return "synced"
        return "optimized" if row["progress"] == 100 else f"optimizing, {row['progress']} %"
    return "reading usage" if row["list_is_complete"] else "reading the device list"
