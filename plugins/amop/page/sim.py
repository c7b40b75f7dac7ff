"""The views of a SIM: the search, and one SIM with its usage, plans and changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.optimization.assignment_reasons import ASSIGNMENT_REASONS
from amop.optimization.exclusions import EXCLUSION_REASONS
from amop.page import formatting
from amop.page.likely_usage import UsagePicture, better_words, usage_picture, usage_sentences
from amop.page.pictures import Bar, column_picture
from amop.page.plan_options import PlanOption, plan_options, reason_sentences
from amop.page.store import sims as store
from amop.page.store import today
from amop.page.store.sims import (
    CycleRow,
    DayRow,
    FoundSim,
    HistoryRow,
    SimChange,
    SimExclusion,
    SimQuarantine,
    SimResult,
    StoredSim,
)
from amop.page.table import Column, Order, Table, whole_table
from amop.page.time_series import DayUsage, TimeSeries, usage_chart, usage_with_forecast

NOT_READ = "not read"

FEWEST_CHARACTERS = 5
SEARCHED = re.compile(r"\+?[0-9]{5,32}")
"""What can be searched for: the first digits of a number."""
MOST_SIMS = 200
MOST_ROWS = 100
MOST_CYCLES = 24

SIM_COLUMNS: tuple[Column[FoundSim], ...] = (
    Column("iccid", "ICCID or EID", lambda row: row.iccid, link=lambda row: f"sim/{row.id}"),
    Column("provider", "Provider", lambda row: row.provider),
    Column("imsi", "IMSI", lambda row: row.imsi),
    Column("msisdn", "MSISDN", lambda row: row.msisdn),
    Column("imei", "IMEI", lambda row: row.imei),
    Column("status", "Status", lambda row: row.status if row.is_active else f"{row.status or ''} (vanished)"),
    Column("rate_plan", "Rate plan", lambda row: row.rate_plan),
    Column("usage", "Usage of the cycle", lambda row: row.ctd_data_usage, kind="data"),
)

OPTION_COLUMNS: tuple[Column[PlanOption], ...] = (
    Column("rate_plan", "Rate plan", lambda row: row.rate_plan),
    Column("role", "", lambda row: _role(row)),
    Column("own_cost", "Charges, messages, own overage", lambda row: row.own_cost, kind="money"),
    Column("included", "Included data", lambda row: row.allowance_mb, kind="megabytes"),
    Column("pool", "Pool", lambda row: formatting.pool(row.pool)),
    Column("data_cost", "Data of the pool", lambda row: row.data_cost, kind="money"),
    Column("change_cost", "Price of a change", lambda row: row.change_cost, kind="money"),
    Column("total", "Cost at the proof's prices", lambda row: row.total, kind="money"),
    Column("expected", "Expected cost over its likely usages", lambda row: row.expected, kind="money"),
    Column("better", "Better with a usage", better_words),
)

HISTORY_COLUMNS: tuple[Column[HistoryRow], ...] = (
    Column("valid_from", "Since", lambda row: row.valid_from, kind="day"),
    Column("status", "Status", lambda row: row.status),
    Column("rate_plan", "Rate plan", lambda row: row.rate_plan),
    Column("communication_plan", "Communication plan", lambda row: row.communication_plan),
)

DAY_COLUMNS: tuple[Column[DayRow], ...] = (
    Column("date", "Day", lambda row: row.usage_date, kind="day"),
    Column("data", "Data", lambda row: row.data_usage, kind="data"),
    Column("messages", "Messages", lambda row: row.sms_usage, kind="count", unknown=NOT_READ),
)

CYCLE_COLUMNS: tuple[Column[CycleRow], ...] = (
    Column("cycle_start", "From", lambda row: row.cycle_start, kind="moment"),
    Column("cycle_end", "To", lambda row: row.cycle_end, kind="moment"),
    Column("data", "Data", lambda row: row.data_usage, kind="data"),
    Column("messages", "Messages", lambda row: row.sms_usage, kind="count", unknown=NOT_READ),
    Column("days", "Days with a reading", lambda row: row.day_count, kind="count"),
)

CHANGE_COLUMNS: tuple[Column[SimChange], ...] = (
    Column("session", "Session", lambda row: row.session_id, kind="id", link=lambda row: f"session/{row.session_id}"),
    Column("from", "From", lambda row: row.from_rate_plan),
    Column("to", "To", lambda row: row.to_rate_plan),
    Column("state", "State", lambda row: row.state, kind="state", note=lambda row: row.remark),
    Column("decided_by", "Decided by", lambda row: row.decided_by),
    Column("decided_at", "Decided", lambda row: row.decided_at, kind="moment"),
    Column("applied_at", "Applied", lambda row: row.applied_at, kind="moment"),
)

QUARANTINE_COLUMNS: tuple[Column[SimQuarantine], ...] = (
    Column("quarantined_at", "Since", lambda row: row.quarantined_at, kind="moment"),
    Column("kind", "Record", lambda row: row.kind),
    Column("reason", "Reason", lambda row: row.reason),
    Column("resolution", "Resolution", lambda row: row.resolution),
)


NOT_WHOLE_CYCLE = (
    "A plan change of this provider counts from its day or from the next cycle, so that the plans have no costs of "
    "their own for a whole cycle; the costs before and after are in the workbook."
)


@dataclass(frozen=True, slots=True)
class SimView:
    """The whole view of a SIM."""

    stored: StoredSim
    now: datetime
    result: SimResult | None
    exclusion: SimExclusion | None
    sentences: list[str]
    """Why the SIM is on its plan, or why it was not placed."""
    forecast: Decimal | None
    """MB that are forecast for the open period; None without a forecast of it."""
    columns: list[Bar]
    """Usage by day with the forecast, as a picture."""
    chart: TimeSeries | None
    """The same for a script."""
    likely: UsagePicture | None
    """How uncertain its usage was; None where no scenarios chose the plans."""
    options: Table[PlanOption]
    days: Table[DayRow]
    cycles: Table[CycleRow]
    history: Table[HistoryRow]
    changes: Table[SimChange]
    quarantine: Table[SimQuarantine]


def search_sims(
    connection: WarehouseConnection, text: str, *, integrations: list[str], order: Order | None
) -> Table[FoundSim]:
    """Return the SIMs with an ICCID, EID, IMSI, MSISDN or IMEI that begins with a text; none for one that is too short.

    Args:
        connection: a reading transaction.
        text: what the user typed; blanks and dashes are ignored.
        integrations: names of the integrations that the user may see.
        order: None = by ICCID.
    """
    wanted = re.sub(r"[\s-]", "", text)
    rows: list[FoundSim] = []
    empty = f"Type the first {FEWEST_CHARACTERS} or more digits of an ICCID, EID, IMSI, MSISDN or IMEI."
    if SEARCHED.fullmatch(wanted):
        rows = store.find_sims(connection, integrations=integrations, first=wanted, maximum=MOST_SIMS)
        empty = f"No SIM has a number that begins with {wanted}."
    title = f"SIMs, the first {MOST_SIMS} found" if len(rows) == MOST_SIMS else "SIMs"
    return whole_table("sims", title, SIM_COLUMNS, rows, order=order or Order("iccid"), empty=empty)


def read_sim(
    connection: WarehouseConnection, device_id: int, *, integrations: list[str], orders: Mapping[str, Order]
) -> SimView | None:
    """Return a SIM, None where there is none that the user may see.

    Args:
        connection: a reading transaction.
        device_id: id of the SIM in the warehouse.
        integrations: names of the integrations that the user may see.
        orders: order of each table by its name.
    """
    sim = store.find_sim(connection, device_id=device_id, integrations=integrations)
    if sim is None:
        return None
    provider_id = sim.service_provider_id
    result = store.sim_result(connection, device_id=device_id, service_provider_id=provider_id)
    exclusion = store.sim_exclusion(connection, device_id=device_id, service_provider_id=provider_id)
    if exclusion is not None and result is not None and exclusion.session_id < result.session_id:
        exclusion = None
    options = _options(connection, result)
    days = store.sim_days(connection, device_id=device_id, billing_period_id=sim.billing_period_id or 0)
    now = today.moment(connection)
    forecast = result.projected_usage_mb if result is not None and result.cycle_end == sim.cycle_end else None
    usage = usage_with_forecast(
        {day.usage_date: day.data_usage for day in days},
        used_so_far=sim.ctd_data_usage,
        forecast_mb=forecast,
        now=now,
        cycle_end=sim.cycle_end,
        time_zone=sim.time_zone,
    )
    return SimView(
        stored=sim,
        now=now,
        result=result,
        exclusion=exclusion,
        sentences=_sentences(result, exclusion, options, sim.currency),
        forecast=forecast,
        columns=column_picture([day.amount for day in usage], _words(usage), forecast_from=len(days)),
        chart=usage_chart(usage),
        likely=usage_picture(result, options) if result is not None else None,
        options=whole_table(
            "options",
            "Rate plans that it may have",
            OPTION_COLUMNS,
            options,
            order=orders.get("options") or Order(""),
            empty=_no_options(result, exclusion),
            currency=lambda _row: sim.currency,
        ),
        days=whole_table(
            "days",
            "Usage by day of its cycle",
            DAY_COLUMNS,
            days,
            order=orders.get("days") or Order("date", descending=True),
            empty="No usage was recorded in this billing period.",
        ),
        cycles=whole_table(
            "cycles",
            "Usage by billing period",
            CYCLE_COLUMNS,
            store.sim_cycles(connection, device_id=device_id, maximum=MOST_CYCLES),
            order=orders.get("cycles") or Order("cycle_start", descending=True),
            empty="No usage was recorded yet.",
        ),
        history=whole_table(
            "history",
            "Status and plans",
            HISTORY_COLUMNS,
            store.sim_history(connection, device_id=device_id, maximum=MOST_ROWS),
            order=orders.get("history") or Order("valid_from", descending=True),
            empty="No history was recorded yet.",
        ),
        changes=whole_table(
            "changes",
            "Plan changes",
            CHANGE_COLUMNS,
            store.sim_changes(connection, device_id=device_id, maximum=MOST_ROWS),
            order=orders.get("changes") or Order("session", descending=True),
            empty="No plan change was proposed.",
        ),
        quarantine=whole_table(
            "quarantine",
            "Quarantined records",
            QUARANTINE_COLUMNS,
            store.sim_quarantine(connection, iccid=sim.iccid, service_provider_id=provider_id, maximum=MOST_ROWS),
            order=orders.get("quarantine") or Order("quarantined_at", descending=True),
            empty="No record of this SIM is in quarantine.",
        ),
    )


def _words(usage: list[DayUsage]) -> list[str]:
    return [f"{day.day}: {formatting.data(day.amount)}{' forecast' if day.is_forecast else ''}" for day in usage]


def _options(connection: WarehouseConnection, result: SimResult | None) -> list[PlanOption]:
    if result is None or not result.counts_for_whole_cycle:
        return []
    wanted = {*result.rate_plan_ids, *([result.current_rate_plan_id] if result.current_rate_plan_id else [])}
    plans = store.plan_terms(connection, rate_plan_ids=sorted(wanted), instance_id=result.instance_id)
    return plan_options(result, plans)


def _no_options(result: SimResult | None, exclusion: SimExclusion | None) -> str:
    """Return why no plans are compared."""
    if exclusion is not None:
        return "Plans are compared for a SIM that an optimization has placed."
    return NOT_WHOLE_CYCLE if result is not None else "No optimization has covered this SIM yet."


def _sentences(
    result: SimResult | None, exclusion: SimExclusion | None, options: list[PlanOption], currency: str
) -> list[str]:
    if exclusion is not None:
        reason = EXCLUSION_REASONS.get(exclusion.reason)
        words = reason.words if reason else formatting.words(exclusion.reason)
        remedy = [f"{reason.remedy}."] if reason and reason.remedy else []
        return [f"Session {exclusion.session_id} did not place this SIM. {words}.", *remedy]
    if result is None:
        return ["No optimization has covered this SIM yet."]
    if not result.counts_for_whole_cycle and result.to_rate_plan is not None:
        because = result.reason or ASSIGNMENT_REASONS["kept_cheapest"]
        return [f"The optimization chose {result.to_rate_plan} ({because}).", NOT_WHOLE_CYCLE]
    return [*reason_sentences(result, options, currency), *usage_sentences(result, options, currency)]


def _role(option: PlanOption) -> str:
    roles = []
    if option.is_present:
        roles.append("present")
    if option.is_chosen:
        roles.append("chosen")
    if not option.is_eligible:
        roles.append("not allowed")
    return ", ".join(roles)
