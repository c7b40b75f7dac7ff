"""The clean-up half of a day: staging into the main tables, in SQL, complete or not at all."""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from amop.pipeline.errors import BalanceError, MergeRefusedError
from amop.pipeline.history import OBSERVED_BY_SYNC, record_devices, record_usage
from amop.pipeline.sync_runs import end_run, load_run, newer_merged_run, older_than, running_run
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.outbox import enqueue_daily_sync_notice

log = logging.getLogger(__name__)

COUNTS_OF_MERGE = ("devices_inserted", "devices_updated", "devices_vanished", "devices_missing")


def merge_devices(conninfo: str, run_id: int, *, now: datetime) -> dict[str, int]:
    """Bring the staged SIMs to ``amop.device``. Runs once per run.

    A SIM that an exact full list does not name is noted as missing; one that two such lists in a row do not name is
    deactivated.

    Raises:
        MergeRefusedError: the list is incomplete, too many records are bad, too much of the fleet would be deactivated,
            or a run that began later has merged already.
    """
    with transaction(conninfo, application_name="amop merge_devices") as connection:
        run = _locked_run(connection, run_id)
        if run["devices_merged_at"] is None:
            refuse_unless_complete(connection, run)
            scope = {"run_id": run_id, "service_provider_id": run["service_provider_id"]}
            new = connection.execute(sql.load("merge/count_new_devices"), scope).fetchone()
            inserted = new["devices"] if new else 0
            written = connection.execute(sql.load("merge/merge_devices"), scope | {"iccids": None, "now": now}).rowcount
            vanished = missing = 0
            is_exact_full = run["is_full"] and run["list_is_exact"]
            if is_exact_full:
                vanished, missing = _deactivate_vanished(connection, run, scope, now)
            connection.execute(sql.load("merge/forget_missing_devices"), scope)
            connection.execute(
                sql.load("quarantine/supersede_devices"), scope | {"is_exact_full": is_exact_full, "now": now}
            )
            record_devices(connection, run)
            connection.execute(
                sql.load("merge/note_devices_merged"),
                {
                    "run_id": run_id,
                    "devices_inserted": inserted,
                    "devices_updated": written - inserted,
                    "devices_vanished": vanished,
                    "devices_missing": missing,
                    "now": now,
                },
            )
        run = load_run(connection, run_id)
    counts = {name: run[name] for name in COUNTS_OF_MERGE}
    log.info("%s: devices merged, %s", run["service_provider_name"], counts)
    return counts


def _locked_run(connection: WarehouseConnection, run_id: int) -> dict[str, Any]:
    """Return the running run, after taking the provider's advisory lock: one writer per provider, and none backwards.

    Raises:
        MergeRefusedError: a run that began later has merged already.
    """
    run = running_run(connection, run_id)
    connection.execute(sql.load("merge/lock_provider"), {"service_provider_id": run["service_provider_id"]})
    newer = newer_merged_run(connection, run)
    if newer is not None:
        raise MergeRefusedError(older_than(run, newer))
    return running_run(connection, run_id)


def refuse_unless_complete(connection: WarehouseConnection, run: dict[str, Any]) -> None:
    """Let only a complete sync with few bad records go on.

    Raises:
        MergeRefusedError: it is not; the message carries the figures.
    """
    progress = connection.execute(sql.load("sync/staging_progress"), {"run_id": run["id"]}).fetchone()
    left = progress["work_rows_left"] if progress else 0
    whose = f"{run['service_provider_name']} ({run['service_provider_id']}), run {run['id']}"
    if not run["list_is_complete"] or left:
        raise MergeRefusedError(f"{whose}: the sync is not complete ({left} work rows left); nothing was merged")
    counts = (
        connection.execute(
            sql.load("quality/bad_records"), {"run_id": run["id"], "devices_seen": run["devices_seen"]}
        ).fetchone()
        or {}
    )
    for bad, read, where in (
        (counts["devices_bad"], counts["devices_read"], "the device list"),
        (counts["sims_bad"], counts["sims_read"], "the device list or their usage"),
    ):
        if bad and Decimal(bad) / max(read, 1) > run["maximum_bad_share"]:
            raise MergeRefusedError(
                f"{whose}: {bad} of {read} SIMs have bad records in {where}, more than the allowed share "
                f"{run['maximum_bad_share']} (service_provider.maximum_bad_share); see `bin/amop quarantine list "
                f"--run {run['id']}`; nothing was merged"
            )


def _deactivate_vanished(
    connection: WarehouseConnection, run: dict[str, Any], scope: dict[str, Any], now: datetime
) -> tuple[int, int]:
    """Deactivate the SIMs that two exact full lists in a row did not name, note those that this one is the first of.

    Returns how many were deactivated and how many noted.

    Raises:
        MergeRefusedError: too much of the fleet would be deactivated, and nobody has allowed it.
    """
    active = connection.execute(sql.load("merge/count_active_devices"), scope).fetchone()
    fleet = active["devices"] if active else 0
    vanished = connection.execute(sql.load("merge/deactivate_vanished_devices"), scope | {"now": now}).rowcount
    missing = connection.execute(sql.load("merge/note_missing_devices"), scope | {"now": now}).rowcount
    whose = f"{run['service_provider_name']} ({run['service_provider_id']}), run {run['id']}"
    if Decimal(vanished) / max(fleet, 1) > run["maximum_vanished_share"] and not run["allows_mass_deactivation"]:
        # The transaction is rolled back: neither these SIMs nor anything else of this run is written.
        raise MergeRefusedError(
            f"{whose}: {vanished} of {fleet} SIMs are missing from a full list for the second time and would be "
            f"deactivated, more than the allowed share {run['maximum_vanished_share']} "
            "(service_provider.maximum_vanished_share); nothing was merged. If the carrier really removed them, "
            "trigger the sync with full_sync and allow_mass_deactivation"
        )
    if missing:
        log.warning("%s: a full list does not name %s SIMs for the first time; the next one decides", whose, missing)
    return vanished, missing


def merge_usage(conninfo: str, run_id: int, *, now: datetime) -> int:
    """Bring the staged usage to the devices' counters and daily delta rows, once per run; return how many changed."""
    with transaction(conninfo, application_name="amop merge_usage") as connection:
        run = _locked_run(connection, run_id)
        if run["usage_merged_at"] is not None:
            return int(run["usage_updated"])
        scope = {"run_id": run_id, "service_provider_id": run["service_provider_id"]}
        connection.execute(sql.load("merge/quarantine_unusable_usage"), scope | {"now": now})
        updated = merge_staged_usage(connection, run, now=now)
        connection.execute(sql.load("quarantine/supersede_usage"), scope | {"now": now})
        connection.execute(
            sql.load("merge/note_usage_merged"), {"run_id": run_id, "usage_updated": updated, "now": now}
        )
    log.info("%s: usage of %s SIMs updated", run["service_provider_name"], updated)
    return updated


def merge_staged_usage(
    connection: WarehouseConnection, run: dict[str, Any], *, now: datetime, iccids: list[str] | None = None
) -> int:
    """Bring a run's staged usage, or that of some SIMs, to counters and daily rows; return how many SIMs changed.

    In the caller's transaction, which holds the provider's lock. Repeating it changes nothing.
    """
    period = {"billing_period_id": run["billing_period_id"]}
    scope = {"run_id": run["id"], "service_provider_id": run["service_provider_id"], "iccids": iccids}
    connection.execute(sql.load("merge/collect_usage"), scope | period)
    record_usage(connection, run, observed_by=OBSERVED_BY_SYNC)
    written = connection.execute(
        sql.load("merge/merge_usage"), period | {"usage_as_of": run["usage_as_of"], "now": now}
    )
    return written.rowcount


def update_communication_plans(conninfo: str, run_id: int, *, now: datetime) -> list[str]:
    """Add the communication plans that the carrier names for the first time; return their names."""
    with transaction(conninfo, application_name="amop update_communication_plans") as connection:
        run = running_run(connection, run_id)
        rows = connection.execute(
            sql.load("merge/add_communication_plans"),
            {"run_id": run_id, "service_provider_id": run["service_provider_id"], "now": now},
        ).fetchall()
    names = sorted(row["name"] for row in rows)
    if names:
        log.warning(
            "%s: new communication plans %s need to be associated to rate plans in order to optimize or deactivate "
            "devices",
            run["service_provider_name"], names,
        )  # fmt: skip
    return names


def check_quality(conninfo: str, run_id: int) -> dict[str, int]:
    """Prove that nothing is lost: SIMs listed = SIMs merged + SIMs quarantined.

    Raises:
        BalanceError: they differ; the message carries the figures.
    """
    with transaction(conninfo, application_name="amop check_quality") as connection:
        return prove_balance(connection, running_run(connection, run_id))


def prove_balance(connection: WarehouseConnection, run: dict[str, Any]) -> dict[str, int]:
    """See `check_quality`."""
    balance = _balance(connection, run)
    if balance["devices_seen"] != balance["devices_merged"] + balance["devices_quarantined"]:
        raise BalanceError(
            f"{run['service_provider_name']} ({run['service_provider_id']}), run {run['id']}: "
            f"{balance['devices_seen']} SIMs were listed, but {balance['devices_merged']} merged and "
            f"{balance['devices_quarantined']} quarantined"
        )
    log.info("%s: %s", run["service_provider_name"], balance)
    return balance


def _balance(connection: WarehouseConnection, run: dict[str, Any]) -> dict[str, int]:
    balance = connection.execute(
        sql.load("quality/run_balance"),
        {"run_id": run["id"], "service_provider_id": run["service_provider_id"]},
    ).fetchone()
    return dict(balance or {})


def summarize(conninfo: str, run_id: int) -> dict[str, Any]:
    """Store and return the summary of the sync: dates, queue counts, updated counts, device count, what needs care."""
    with transaction(conninfo, application_name="amop publish_summary") as connection:
        running_run(connection, run_id)
        row = connection.execute(sql.load("reports/sync_summary"), {"run_id": run_id}).fetchone()
        summary = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in (row or {}).items()
        }
        connection.execute(sql.load("reports/store_summary"), {"run_id": run_id, "summary": Jsonb(summary)})
    return summary


def complete_run(conninfo: str, run_id: int, *, now: datetime) -> str | None:
    """End the run as complete and write the daily-sync notice with it; return the notice's key, None if it had ended.

    Raises:
        SyncRunEndedError: the run failed or was refused.
    """
    with transaction(conninfo, application_name="amop notify_amop") as connection:
        run = load_run(connection, run_id)
        if run["status"] == "complete":
            return f"daily_sync:{run_id}:{run['service_provider_id']}"
        running_run(connection, run_id)
        enqueue_daily_sync_notice(connection, run_id=run_id, service_provider_id=run["service_provider_id"])
        end_run(connection, run_id, "complete", None, now=now)
    return f"daily_sync:{run_id}:{run['service_provider_id']}"


def session_to_optimize(conninfo: str, run_id: int) -> dict[str, Any] | None:
    """Return the ids that start the optimization of this run, or None with the reason in the log.

    The optimization starts when the integration supports it **and** a session was opened for this run.
    """
    with transaction(conninfo, application_name="amop should_optimize") as connection:
        run = load_run(connection, run_id)
        session_id = run["optimization_session_id"]
        if not run["supports_optimization"] or session_id is None:
            log.info("%s: no optimization session was opened for this run", run["service_provider_name"])
            return None
        session = connection.execute(sql.load("sync/session_status"), {"session_id": session_id}).fetchone()
    if session is None or session["status"] != "running":
        log.warning("%s: session %s is no longer running", run["service_provider_name"], session_id)
        return None
    return {
        "service_provider_id": run["service_provider_id"],
        "billing_period_id": run["billing_period_id"],
        "optimization_session_id": session_id,
    }
