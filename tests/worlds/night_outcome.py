"""What the nights of a provider leave, what must hold about it, and how it differs from undisturbed nights."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from sandbox.amop.running import RunningAmop
from sandbox.carrier.running import RunningCarrier
from tests.worlds.seeded_faults import Step
from tests.worlds.warehouse_rows import rows_of_every_table

API_USER = "api_jasper"
COMPLETE = 100
"""Percent of a complete session."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the nights leave."""

    rows: Mapping[str, Sequence[str]]
    """Rows of the compared tables, without moments and numbers of sequences."""
    plans: Mapping[str, str]
    """Rate plan of each SIM at the carrier."""
    lost_nights: Sequence[int]
    """Nights that did not end as complete."""
    problems: Sequence[str]
    """Sentences about what must hold whatever happens, and does not."""
    counts: Mapping[tuple[int, Step, str], int] = field(default_factory=dict)
    """Statements, commits and calls by night and step."""


OPEN_WORK = """
SELECT 'run ' || id || ' is still running' FROM amop.device_sync_run WHERE status = 'running'
UNION ALL
SELECT 'run ' || id || ' is ' || status || ' without a reason' FROM amop.device_sync_run
WHERE status IN ('failed', 'refused') AND coalesce(error, '') = ''
UNION ALL
SELECT 'session ' || id || ' is still running' FROM amop.optimization_session WHERE status = 'running'
UNION ALL
SELECT 'message ' || dedupe_key || ' was not sent: ' || coalesce(last_error, '') FROM amop.amop_outbox
WHERE sent_at IS NULL
"""
DAYS_AGAINST_COUNTERS = """
SELECT
    'SIM ' || device.iccid || ' has ' || device.ctd_data_usage || ' bytes and its days have '
    || coalesce(sum(daily.data_usage), 0)
FROM amop.device AS device
LEFT JOIN amop.device_usage AS daily
    ON daily.device_id = device.id AND daily.billing_period_id = device.billing_period_id
GROUP BY device.id
HAVING device.ctd_data_usage <> coalesce(sum(daily.data_usage), 0)
    OR device.ctd_sms_usage <> coalesce(sum(daily.sms_usage), 0)
"""
DEVICES = "SELECT iccid, status, rate_plan, ctd_data_usage FROM amop.device"
DIFFERS = re.compile(
    r'"(\w+_at|as_of|last_usage_date|doubt\w*|is_read_first|run_id|instance_id|row_number|page_number)": '
    r'("(\\.|[^"\\])*"|[^,}]*)'
)
"""What differs between nights that end equally: moments, which run wrote a row, doubts that were settled, and how a
plan change was checked."""
PROJECTED = frozenset({"optimization_device_result", "optimization_comm_group"})
"""Tables with figures that follow from the minute at which the usage was read."""
PROJECTION = re.compile(r'"(projected_usage_mb|from_cost|to_cost|own_saving|from_excess_mb|to_excess_mb)": [^,}]*')
"""Such figures of a table that is compared otherwise: what a plan change was proposed for and does to a pool."""
COMPARED_TABLES = (
    "device",
    "device_history",
    "device_usage",
    "communication_plan",
    "device_quarantine",
    "optimization_device_result",
    "optimization_comm_group",
    "rate_plan_change",
)


def compared(rows: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {table: sorted(DIFFERS.sub("", line) for line in rows[table]) for table in COMPARED_TABLES}


def differences(expected: Outcome, outcome: Outcome, *, has_moved_time: bool) -> Iterator[str]:
    """Yield what nights left that undisturbed nights did not.

    Args:
        expected: of the undisturbed nights.
        outcome: of the disturbed nights.
        has_moved_time: whether the usage was read at another minute, so that projections are not compared.
    """
    for table, lines in expected.rows.items():
        if has_moved_time and table in PROJECTED:
            continue
        before, after = set(lines), set(outcome.rows[table])
        if has_moved_time:
            before, after = ({PROJECTION.sub("", line) for line in rows} for rows in (before, after))
        missing, more = sorted(before - after), sorted(after - before)
        if missing or more:
            yield f"{table}: {len(missing)} rows missing, {len(more)} more; {missing[:1]} / {more[:1]}"
    for iccid, plan in expected.plans.items():
        if outcome.plans[iccid] != plan:
            yield f"SIM {iccid} is on {outcome.plans[iccid]!r} at the carrier, not on {plan!r}"


def violations(dsn: str, carrier: RunningCarrier, amop: RunningAmop, *, complete_nights: int) -> Iterator[str]:
    """Yield what must hold after any nights that end with one without faults, and does not.

    Args:
        dsn: the warehouse.
        carrier: its account holds the truth.
        amop: has received the messages.
        complete_nights: number of nights that ended as complete.
    """
    with psycopg.connect(dsn) as connection:
        for statement in (OPEN_WORK, DAYS_AGAINST_COUNTERS):
            yield from (text for (text,) in connection.execute(statement))
        known = {row[0]: row[1:] for row in connection.execute(DEVICES)}
    truth = {sim["iccid"]: sim for sim in carrier.truth(API_USER)["devices"]}
    for iccid, sim in truth.items():
        expected = (sim["status"], sim["rate_plan"], sim["data_usage"])
        if iccid not in known and sim["status"] == "ACTIVATED":
            yield f"SIM {iccid} is not in the warehouse"
        if sim["status"] != "RETIRED" and known.get(iccid, expected) != expected:
            yield f"SIM {iccid} is {known[iccid]} in the warehouse and {expected} at the carrier"
    yield from _wrong_messages(amop, complete_nights)
    yield from _leaks(dsn, carrier.api_key)


def _wrong_messages(amop: RunningAmop, complete_nights: int) -> Iterator[str]:
    refusals = amop.stats()["refusals"]
    if refusals:
        yield f"AMOP refused messages: {refusals}"
    for guid, session in amop.sessions().items():
        if session["order_errors"]:
            yield f"AMOP got messages of session {guid} out of order: {session['order_errors']}"
        ends = [step for step in session["progress"] if step == COMPLETE] + session["errors"]
        if len(ends) != 1:
            yield f"AMOP got {len(ends)} messages that session {guid} has ended"
    notices = {message["idempotency_key"] for message in amop.messages("daily_sync")}
    if len(notices) < complete_nights:
        yield f"AMOP got {len(notices)} daily-sync notices for {complete_nights} complete nights"


def _leaks(dsn: str, api_key: str) -> Iterator[str]:
    forms = (api_key, base64.b64encode(f"{API_USER}:{api_key}".encode()).decode())
    for table, lines in rows_of_every_table(dsn).items():
        if any(form in line for form in forms for line in lines):
            yield f"the API key is in table {table}"
