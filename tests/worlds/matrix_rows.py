"""What a day has left of one provider of the matrix, fit to be compared with what another provider's day has left.

Excluded is what any two days differ in: ids that sequences gave, moments that a clock gave (only whether there is one
is compared), and how often something was tried.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection
from typing import Any

import psycopg

from tests.worlds.warehouse_rows import mask_numbers

OF_DEVICE = "SELECT to_jsonb(found) || jsonb_build_object('sim', device.iccid) FROM amop.{} AS found"
OF_DEVICE += " INNER JOIN amop.device ON found.device_id = device.id WHERE device.service_provider_id = %(provider)s"
OF_RUN = "SELECT to_jsonb(found) FROM amop.{} AS found WHERE run_id = %(run)s"
OF_INSTANCE = (
    "SELECT to_jsonb(found) || jsonb_build_object('sim', device.iccid) FROM amop.{} AS found"
    " INNER JOIN amop.device ON found.device_id = device.id WHERE found.instance_id = %(instance)s"
)

SYNC_TABLES: dict[str, str] = (
    {
        "device": "SELECT to_jsonb(found) FROM amop.device AS found WHERE service_provider_id = %(provider)s",
        "communication_plan": "SELECT to_jsonb(found) FROM amop.communication_plan AS found"
        " WHERE service_provider_id = %(provider)s",
        "device_sync_run": "SELECT to_jsonb(found) FROM amop.device_sync_run AS found WHERE id = %(run)s",
        "undelivered_report": OF_RUN.format("undelivered_report"),
        "amop_outbox of the run": "SELECT to_jsonb(found) FROM amop.amop_outbox AS found"
        " WHERE dedupe_key = concat('daily_sync:', %(run)s::bigint)",
        "amop_outbox of the session": "SELECT to_jsonb(found) FROM amop.amop_outbox AS found"
        " WHERE session_id = %(session)s",
        "optimization_session": "SELECT to_jsonb(found) FROM amop.optimization_session AS found WHERE id = %(session)s",
    }
    | {table: OF_DEVICE.format(table) for table in ("device_usage", "device_history", "device_missing")}
    | {
        table: OF_RUN.format(table)
        for table in (
            "device_staging",
            "device_detail_staging",
            "device_usage_staging",
            "device_usage_to_process",
            "device_usage_processed",
            "device_quarantine",
            "device_sync_page",
        )
    }
)
"""Table → its rows of a provider's latest run."""

OPTIMIZATION_TABLES: dict[str, str] = {
    "optimization_instance": "SELECT to_jsonb(found) FROM amop.optimization_instance AS found WHERE id = %(instance)s",
    "optimization_session": SYNC_TABLES["optimization_session"],
    "amop_outbox of the session": SYNC_TABLES["amop_outbox of the session"],
    "optimization_comm_group": "SELECT to_jsonb(found) FROM amop.optimization_comm_group AS found"
    " WHERE instance_id = %(instance)s",
    "optimization_rate_plan_result": "SELECT to_jsonb(found) FROM amop.optimization_rate_plan_result AS found"
    " WHERE instance_id = %(instance)s",
    "optimization_pool_result": "SELECT to_jsonb(found) FROM amop.optimization_pool_result AS found"
    " WHERE instance_id = %(instance)s",
    "undelivered_report": "SELECT to_jsonb(found) FROM amop.undelivered_report AS found"
    " WHERE instance_id = %(instance)s",
} | {
    table: OF_INSTANCE.format(table)
    for table in (
        "optimization_device",
        "optimization_device_result",
        "optimization_device_excluded",
        "rate_plan_change",
    )
}
"""Table → its rows of a provider's latest optimization."""

NOT_COMPARED = re.compile(
    r"(^id|(?<!sim)_id|_ids|_guid|_as_of|^as_of|usage_date|valid_from|cycle_start|cycle_end|_since|_deadline)$"
    r"|^(modification_order|modified_since|attempt|attempts|clear_number|opened_by|dedupe_key|report_uri|certificate"
    r"|changes_planned_by|changes_decided_by|changes_reason|decided_by|doubt_count|started_at|heartbeat_at"
    r"|group_key|comm_group_key|next_attempt_at|sent_at|inputs_read_at|details_tried_at|reported_in|summary)$"
)

MASKED = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-][\d:]+)?|Matrix \d+|(ServiceProviderId|DeviceCount)\W+\d+")
"""Moments, and what a message says of its provider: a session that replaces a failed one already counts its SIMs."""


LONGEST_DELIVERY_SECONDS = 60.0

LATEST = """
SELECT run.id AS run, run.status, run.error, session.id AS session, session.status AS session_status,
       session.error AS session_error, instance.id AS instance, instance.run_status AS instance_status,
       instance.error AS instance_error, instance.changes_status, instance.changes_reason,
       %(provider)s::bigint AS provider
FROM (SELECT 1) AS one
LEFT JOIN LATERAL (
    SELECT * FROM amop.device_sync_run WHERE service_provider_id = %(provider)s ORDER BY id DESC LIMIT 1
) AS run ON true
LEFT JOIN LATERAL (
    SELECT * FROM amop.optimization_session WHERE service_provider_id = %(provider)s ORDER BY id DESC LIMIT 1
) AS session ON true
LEFT JOIN amop.optimization_instance AS instance ON instance.session_id = session.id
"""


def latest(connection: psycopg.Connection[Any], provider: int) -> dict[str, Any]:
    """Return ids, statuses and errors of a provider's latest run, session and instance."""
    row = connection.execute(LATEST, {"provider": provider}).fetchone()
    assert row is not None
    return dict(row)


def notified(connection: psycopg.Connection[Any], dag_id: str, task_id: str) -> str:
    """Return the notification of a task whose failure no run and no session records; empty if there is none."""
    row = connection.execute(
        "SELECT concat(cause, ': ', first_step) AS sentence FROM amop.notification"
        " WHERE kind = 'task_failed' AND starts_with(cause, %s) ORDER BY id DESC LIMIT 1",
        (f"{dag_id}, task {task_id}: ",),
    ).fetchone()
    return str(row["sentence"]) if row else ""


def rows_of(
    connection: psycopg.Connection[Any], provider: int, tables: dict[str, str], without: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the rows of the tables that belong to a provider's latest run and optimization, as text.

    Args:
        connection: the warehouse.
        provider: id of the provider.
        tables: table → the statement that reads its rows.
        without: columns that are left out.
    """
    of = latest(connection, provider)
    _wait_for_relay(connection, of)
    return {
        table: sorted(_text(next(iter(row.values())), without) for row in connection.execute(statement, of))  # type: ignore[call-overload]
        for table, statement in tables.items()
    }


def _wait_for_relay(connection: psycopg.Connection[Any], of: dict[str, Any]) -> None:
    """Wait until the relay has sent every message of a run and its session: a DAG run ends before its last one is."""
    ended = time.monotonic() + LONGEST_DELIVERY_SECONDS
    while time.monotonic() < ended:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM amop.amop_outbox WHERE state = 'pending'"
            " AND (session_id = %(session)s OR dedupe_key = concat('daily_sync:', %(run)s::bigint))) AS is_waiting",
            of,
        ).fetchone()
        if row is None or not row["is_waiting"]:
            return
        time.sleep(0.2)


def _text(row: dict[str, Any], without: Collection[str]) -> str:
    compared = {
        name: value is not None if name.endswith("_at") else value
        for name, value in row.items()
        if not NOT_COMPARED.search(name) and name not in without
    }
    return MASKED.sub("…", mask_numbers(json.dumps(compared, sort_keys=True)))


def differences(undisturbed: dict[str, list[str]], found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return by table the rows that only one of two days has left, marked with - (undisturbed) and +."""
    different: dict[str, list[str]] = {}
    for table, expected in undisturbed.items():
        missing, more = list(expected), []
        for row in found[table]:
            if row in missing:
                missing.remove(row)
            else:
                more.append(row)
        if missing or more:
            different[table] = [f"- {row}" for row in missing] + [f"+ {row}" for row in more]
    return different
