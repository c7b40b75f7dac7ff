"""Render the tables of the demo: device syncs, optimizations and plan changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.table import Table

from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES


def sync_table(runs: list[dict[str, Any]]) -> Table:
    """Return the table of device syncs: pages, SIMs and changed rows of each run."""
    table = Table(title="Device syncs", title_justify="left", show_edge=False)
    for column in ("service provider", "list"):
        table.add_column(column)
    for column in ("pages", "SIMs listed", "inserted", "changed", "vanished", "usage changed", "seconds"):
        table.add_column(column, justify="right")
    for run in runs:
        figures = (
            run["pages"],
            run["devices_seen"],
            run["devices_inserted"],
            run["devices_updated"],
            run["devices_vanished"],
            run["usage_updated"],
            round(run["seconds"] or 0),
        )
        table.add_row(run["name"], "full" if run["is_full"] else "incremental", *(f"{figure:,}" for figure in figures))
    return table


def cost_table(runs: list[dict[str, Any]]) -> Table:
    """Return the table of optimizations: cost before and after, proven lower bound, gap, saving, plan changes."""
    table = Table(title="Optimizations: forecast cost of the billing period", title_justify="left", show_edge=False)
    table.add_column("service provider")
    for column in (
        "SIMs",
        "cost before",
        "base",
        "cost after",
        "lower bound",
        "gap",
        "saving",
        "plan changes",
    ):
        table.add_column(column, justify="right")
    for run in runs:
        if run["total_cost"] is None:
            table.add_row(run["name"], *("–",) * 8)
            continue
        before, after = run["current_cost"], run["total_cost"]
        gap = (after - run["lower_bound"]) / after if after else Decimal(0)
        saving = (before - after) / before if before else Decimal(0)
        table.add_row(
            run["name"],
            f"{run['device_count']:,}",
            f"{before:,.2f}",
            f"{run['base_cost']:,.2f}",
            f"{after:,.2f}",
            f"{run['lower_bound']:,.2f}",
            f"{gap:.1e}",
            f"{saving:.1%}",
            f"{run['changes']:,}",
        )
    return table


def changes_table(latest: dict[int, dict[str, Any]], write_requests: dict[int, int]) -> Table:
    """Return the table of plan changes: decision, requests sent, and what the carrier and the next sync confirm.

    Args:
        latest: `latest_changes` after the next sync.
        write_requests: number of write requests that the carrier received, by provider id.
    """
    table = Table(title="Rate plan changes", title_justify="left", show_edge=False)
    for column in ("service provider", "decided", "by"):
        table.add_column(column)
    for column in ("proposed", "applied", "refused", "verified", "write requests", "confirmed by sync"):
        table.add_column(column, justify="right")
    for provider in PROVIDERS_APPLYING_CHANGES:
        row = latest[provider.id]
        figures = (
            row["changes"],
            row["applied"],
            row["refused"],
            row["verified"],
            write_requests[provider.id],
            row["confirmed"],
        )
        decided = row["changes_status"] + ("" if provider.write_is_enabled else ", write_is_enabled = false")
        table.add_row(row["name"], decided, row["changes_decided_by"], *(f"{figure:,}" for figure in figures))
    return table
