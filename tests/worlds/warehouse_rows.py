"""Every row of the warehouse, fit to be compared with those of another warehouse; for tests.

Two warehouses in which the same has happened differ in numbers that sequences gave (a rolled-back insert uses one up),
in a random guid, and in the moments that a clock gave. All of that is named here, with its reason, and nothing else is
excluded.
"""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
from psycopg import sql

NOT_COMPARED = {
    "amop_outbox": {
        "attempts": "a message with an unrecorded delivery is tried again",
        "next_attempt_at": "moves with every try",
        "sent_at": "the relay sends later what a killed task left",
        "created_at": "the database's clock",
    },
    "billing_period": {"id": "given by a sequence; its periods are identified by their month"},
    "carrier_api_user": {
        "recent_calls": "the database's clock",
        "fastest_seconds": "measured",
        "timed_calls": "counts the calls that a killed task repeats",
        "api_user": "a hash of the carrier's address; its port differs every day",
    },
    "communication_plan": {"added_at": "the database's clock, where the reference file added it"},
    "optimization_instance": {
        "inputs_read_at": "the database's clock",
        "changes_read_count": "counts the reads that a killed task repeats",
    },
    "optimization_session": {
        "session_guid": "random",
        "heartbeat_at": "the database's clock",
        "ended_at": "the database's clock",
    },
    "device": {
        "id": "given by a sequence; its SIMs are identified by ICCID",
        "modification_order": "begins with the number of the run",
    },
    "device_sync_run": {"heartbeat_at": "the database's clock"},
    "device_quarantine": {"id": "given by a sequence; its records are identified by their keys"},
    "device_usage_to_process": {"id": "given by a sequence; its rows are identified by what is to be read"},
    "optimization_comm_group": {"id": "given by a sequence; its groups are identified by their keys"},
    "rate_plan_change": {
        "id": "given by a sequence; its changes are identified by SIM",
        "doubt_since": "a change that is sent by a killed process is in doubt until it is read",
        "is_read_first": "a change that a killed process left unsent is read before it is sent",
    },
}
"""Table → column → why it is not compared."""

NUMBERED = frozenset({"amop_outbox", "device_sync_run", "optimization_session", "optimization_instance"})
"""Tables whose rows are identified by the order in which they were written: their numbers count from 1 here."""

MEANING = {
    "billing_period_id": ("billing_period", "cycle_start"),
    "device_id": ("device", "iccid"),
    "comm_group_id": ("optimization_comm_group", "group_key"),
    "run_id": ("device_sync_run", None),
    "optimization_session_id": ("optimization_session", None),
    "session_id": ("optimization_session", None),
    "instance_id": ("optimization_instance", None),
}
"""Column that refers to a row → that row's table, and the column that says which row it is (None = its order)."""

NUMBERS_IN_TEXT = re.compile(
    r"(session[:_]|daily_sync:|optimization_|sync_log_|[Rr]un_|[Ii]nstance |[Ss]ession |and guid', ')\d+"
    r'|("(?:SessionId|run_id|RunId|instance_id|optimization_session_id|BillPeriodId)\\*": ?"?)\d+'
)
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def mask_numbers(text: str) -> str:
    """Return a text without guids and without the numbers of run, session, instance and period: a day has one each."""
    return GUID.sub("<guid>", NUMBERS_IN_TEXT.sub(lambda found: f"{found[1] or found[2]}<number>", text))


def rows_of_every_table(dsn: str) -> dict[str, list[str]]:
    """Return the rows of every table of schema amop as text, in order; an empty table has none."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'amop' ORDER BY 1").fetchall()
        tables = {name: _rows(connection, name) for (name,) in names}
    meaning = {column: _meaning(tables[table], key) for column, (table, key) in MEANING.items()}
    return {name: sorted(_text(name, row, meaning, tables) for row in rows) for name, rows in tables.items()}


def _rows(connection: psycopg.Connection[Any], table: str) -> list[dict[str, Any]]:
    statement = sql.SQL("SELECT to_jsonb(stored) FROM {} AS stored").format(sql.Identifier("amop", table))
    return [row for (row,) in connection.execute(statement)]


def _meaning(rows: list[dict[str, Any]], key: str | None) -> dict[int, Any]:
    if key is not None:
        return {row["id"]: row[key] for row in rows}
    return {number: order for order, number in enumerate(sorted(row["id"] for row in rows), start=1)}


def _text(
    table: str, row: dict[str, Any], meaning: dict[str, dict[int, Any]], tables: dict[str, list[dict[str, Any]]]
) -> str:
    row = {name: value for name, value in row.items() if name not in NOT_COMPARED.get(table, {})}
    if table in NUMBERED:
        row["id"] = _meaning(tables[table], None)[row["id"]]
    for name, known in meaning.items():
        if row.get(name) is not None:
            row[name] = known.get(row[name], f"unknown {name}")
    return mask_numbers(json.dumps(row, sort_keys=True))
