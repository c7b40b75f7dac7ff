"""``amop status``: the state of providers, syncs, optimizations and messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from amop.cli.connection import warehouse_conninfo
from amop.cli.output import AsJson, print_json, print_table
from amop.maintenance.status import Status, read_status

PROVIDERS = ("id", "name", "tenant", "integration", "is_active", "billing_period_end")
SYNC_RUNS = (
    "service_provider",
    "id",
    "status",
    "started_at",
    "ended_at",
    "pages",
    "devices_seen",
    "work_rows_left",
    "error",
    "warnings",
)
OPTIMIZATIONS = (
    "service_provider",
    "instance_id",
    "billing_period_end",
    "run_status",
    "device_count",
    "current_cost",
    "total_cost",
    "forecast_savings",
    "gap_percent",
    "error",
)
PLAN_CHANGES = (
    "service_provider",
    "instance_id",
    "proposed",
    "approved",
    "rejected",
    "applied",
    "conflict",
    "failed",
    "changes_status",
    "changes_decided_by",
    "changes_reason",
)
REALISED_SAVINGS = (
    "service_provider",
    "instance_id",
    "billing_period_end",
    "applied_changes",
    "forecast_saving",
    "realised_saving",
    "projection_error_percent",
    "weighted_error_percent",
    "usage_read_at",
)
SESSIONS = ("id", "service_provider", "progress", "started_at", "heartbeat_at")
OUTBOX = ("pending", "dead", "sent", "oldest_pending")
REFUSED_MESSAGES = ("dedupe_key", "service_provider", "created_at", "attempts", "last_error", "followers")


def status_command(as_json: AsJson = False) -> None:
    """Show providers, their last sync and optimization, realised savings, running sessions and messages to AMOP."""
    status = read_status(warehouse_conninfo())
    if as_json:
        print_json(asdict(status))
        return
    _print_tables(status)


def _print_tables(status: Status) -> None:
    _print_rows("Service providers", PROVIDERS, status.service_providers)
    _print_rows("Last sync runs", SYNC_RUNS, status.last_sync_runs)
    _print_rows("Last optimizations", OPTIMIZATIONS, status.last_optimizations)
    _print_rows("Their plan changes", PLAN_CHANGES, status.last_optimizations)
    _print_rows("Realised savings of the last closed billing period", REALISED_SAVINGS, status.realised_savings)
    _print_rows("Running optimization sessions", SESSIONS, status.running_sessions)
    _print_rows("Messages to AMOP", OUTBOX, [status.outbox])
    if status.dead_messages:
        _print_rows("Messages that AMOP refused (docs/runbook.md)", REFUSED_MESSAGES, status.dead_messages)


def _print_rows(title: str, columns: tuple[str, ...], rows: Sequence[Any]) -> None:
    print_table(title, columns, map(attrgetter(*columns), rows))
