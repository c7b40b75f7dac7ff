"""The tables of the view of an optimization session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import Any, cast, get_args

from amop.database.connection import WarehouseConnection
from amop.optimization.exclusions import EXCLUSION_REASONS
from amop.page import formatting
from amop.page.store import sessions as store
from amop.page.store.sessions import ChangeRow, ChangeSort, ExcludedRow, SessionRow, StoredSession
from amop.page.table import LARGEST_EXPORT, ROWS_OF_A_PAGE, Column, Order, Table, whole_table
from amop.plan_changes.store.decisions import Move
from amop.reports.store import CommGroupRow, PoolRow, RatePlanRow

UNKNOWN_PLAN = "(no known plan)"
CHANGE_STATES = ("proposed", "waiting", "approved", "rejected", "applied", "conflict", "failed")

GROUPED, PLACED, RESULTS = 30, 40, 100
"""Percent of a session at which its comm groups, its excluded SIMs and its results are known."""

LONGEST_NOTE = 160
"""Characters of an error or an answer in a row; the SIM, the session and the run have the rest."""

SESSION_COLUMNS: tuple[Column[SessionRow], ...] = (
    Column("id", "Session", lambda row: row.id, kind="id", link=lambda row: f"session/{row.id}"),
    Column("provider", "Provider", lambda row: row.provider),
    Column("period_end", "Period ends", lambda row: row.cycle_end, kind="moment"),
    Column("status", "Status", lambda row: row.status, kind="state", note=lambda row: _note(row.error)),
    Column("progress", "Progress %", lambda row: row.progress, kind="count"),
    Column("started_at", "Started", lambda row: row.started_at, kind="moment"),
    Column("sims", "SIMs placed", lambda row: row.device_count, kind="count"),
    Column("before", "Bill before", lambda row: row.current_cost, kind="money"),
    Column("after", "Bill after", lambda row: row.total_cost, kind="money"),
    Column("saving", "Saving", lambda row: row.savings, kind="money"),
    Column("changes", "Plan changes", lambda row: row.changes_status, kind="state"),
)

GROUP_COLUMNS: tuple[Column[CommGroupRow], ...] = (
    Column("group", "Group", lambda row: row.group_key),
    Column("outcome", "What was done", lambda row: row.outcome, kind="state"),
    Column("sims", "SIMs of the group", lambda row: row.device_count, kind="count"),
    Column("communication_plans", "Communication plans", lambda row: row.communication_plans),
    Column("rate_plans", "Rate plans", lambda row: row.rate_plan_count, kind="count", note=lambda row: row.rate_plans),
    Column("before", "Bill before", lambda row: row.current_cost, kind="money"),
    Column("after", "Bill after", lambda row: row.total_cost, kind="money"),
    Column("saving", "Saving", lambda row: row.saving, kind="money"),
)

PLAN_COLUMNS: tuple[Column[RatePlanRow], ...] = (
    Column("rate_plan", "Rate plan", lambda row: row.rate_plan_code),
    Column("pool", "Pool", lambda row: formatting.pool(row.pool_name)),
    Column("sims_before", "SIMs billed before", lambda row: row.from_device_count or 0, kind="count"),
    Column("sims_after", "SIMs billed after", lambda row: row.to_device_count or 0, kind="count"),
    Column("before", "Bill before", lambda row: row.from_total_cost, kind="money"),
    Column("after", "Bill after", lambda row: row.to_total_cost, kind="money"),
)

MOVE_COLUMNS: tuple[Column[Move], ...] = (
    Column("from", "From", lambda row: row.from_rate_plan or UNKNOWN_PLAN),
    Column("to", "To", lambda row: row.to_rate_plan),
    Column("sims", "SIMs", lambda row: row.change_count, kind="count"),
    Column("before", "Cost before", lambda row: row.from_cost, kind="money"),
    Column("after", "Cost after", lambda row: row.to_cost, kind="money"),
    Column("saving", "Saving", lambda row: row.from_cost - row.to_cost, kind="money"),
)

POOL_COLUMNS: tuple[Column[PoolRow], ...] = (
    Column("pool", "Pool", lambda row: formatting.pool(row.pool_name), note=lambda row: row.comm_group_key),
    Column("sims_before", "SIMs billed before", lambda row: row.from_device_count or 0, kind="count"),
    Column("used_before", "Used before", lambda row: row.from_usage_mb, kind="megabytes"),
    Column("included_before", "Included before", lambda row: row.from_included_mb, kind="megabytes"),
    Column("overage_before", "Overage before", lambda row: row.from_overage_cost, kind="money"),
    Column("sims_after", "SIMs billed after", lambda row: row.to_device_count or 0, kind="count"),
    Column("used_after", "Used after", lambda row: row.to_usage_mb, kind="megabytes"),
    Column("included_after", "Included after", lambda row: row.to_included_mb, kind="megabytes"),
    Column("overage_after", "Overage after", lambda row: row.to_overage_cost, kind="money"),
    Column("balance", "Data left after", lambda row: _balance(row), kind="megabytes"),
    Column("fill", "Fill after", lambda row: _fill(row), kind="share"),
)

EXCLUDED_COLUMNS: tuple[Column[ExcludedRow], ...] = (
    Column("reason", "Reason", lambda row: _reason(row)[0]),
    Column("sims", "SIMs", lambda row: row.device_count, kind="count"),
    Column("monthly_charges", "Monthly charges of their plans", lambda row: row.monthly_charges, kind="money"),
    Column("remedy", "What to do", lambda row: _reason(row)[1] or "Nothing"),
)

CHANGE_COLUMNS: tuple[Column[ChangeRow], ...] = (
    Column("iccid", "ICCID", lambda row: row.iccid, link=lambda row: f"sim/{row.device_id}"),
    Column("from_rate_plan", "From", lambda row: row.from_rate_plan),
    Column("to_rate_plan", "To", lambda row: row.to_rate_plan, note=lambda row: row.reason),
    Column("projected_usage_mb", "Forecast usage", lambda row: row.projected_usage_mb, kind="megabytes"),
    Column("from_cost", "Cost before", lambda row: row.from_cost, kind="money"),
    Column("to_cost", "Cost after", lambda row: row.to_cost, kind="money"),
    Column("saving", "Saving", lambda row: row.saving, kind="money"),
    Column("certainty", "Certainty", lambda row: row.certainty, kind="share"),
    Column("state", "State", lambda row: row.state, kind="state", note=lambda row: _note(row.remark)),
    Column("decided_by", "Decided by", lambda row: row.decided_by),
    Column("applied_at", "Applied", lambda row: row.applied_at, kind="moment"),
)


class SessionTables:
    """Makes the tables of one session.

    Args:
        stored: the session.
        orders: order of each table by its name; the others keep theirs.
    """

    def __init__(self, stored: StoredSession, orders: Mapping[str, Order]) -> None:
        self._stored = stored
        self._orders = orders

    def groups(self, rows: Sequence[CommGroupRow]) -> Table[CommGroupRow]:
        """Return the comm groups and what was done with each."""
        return self._table(
            "groups",
            "Comm groups",
            GROUP_COLUMNS,
            rows,
            "sims",
            self._empty("No group of communication plans.", GROUPED),
        )

    def plans(self, rows: Sequence[RatePlanRow]) -> Table[RatePlanRow]:
        """Return the SIMs and the bill of each rate plan before and after."""
        return self._table("plans", "Rate plans", PLAN_COLUMNS, rows, "after", self._empty("No SIM is billed."))

    def moves(self, rows: Sequence[Move]) -> Table[Move]:
        """Return the plan changes summed up by plan."""
        return self._table("moves", "Moves", MOVE_COLUMNS, rows, "saving", self._empty("No SIM changes its rate plan."))

    def pools(self, rows: Sequence[PoolRow]) -> Table[PoolRow]:
        """Return the pools with their fill and balance."""
        return self._table(
            "pools", "Pools", POOL_COLUMNS, rows, "overage_before", self._empty("No rate plan is pooled.")
        )

    def excluded(self, rows: Sequence[ExcludedRow]) -> Table[ExcludedRow]:
        """Return the excluded SIMs by reason."""
        return self._table(
            "excluded", "Excluded SIMs", EXCLUDED_COLUMNS, rows, "sims", self._empty("No SIM is excluded.", PLACED)
        )

    def top_savers(self, rows: Sequence[ChangeRow]) -> Table[ChangeRow]:
        """Return the changes that save most; they are not sorted otherwise."""
        title = "Changes that save most"
        order = Order("saving", descending=True)
        empty = self._empty("No change.")
        return Table("savers", title, CHANGE_COLUMNS, rows, order, empty, len(rows), currency=self._of_session)

    def _empty(self, sentence: str, known_at: int = RESULTS) -> str:
        """Return what stands in place of the rows: that there are none, or that they are not known.

        Args:
            sentence: there are none.
            known_at: percent of the session from which they are known.
        """
        stored = self._stored
        if stored.progress >= known_at or (known_at == RESULTS and stored.savings is not None):
            return sentence
        if stored.status == "running":
            return f"Not known yet: the session is at {stored.progress} %."
        return f"Not known: the session ended at {stored.progress} %."

    def _of_session(self, _row: Any) -> str:
        return self._stored.currency

    def _table(
        self, name: str, title: str, columns: Sequence[Column[Any]], rows: Sequence[Any], sort: str, empty: str
    ) -> Table[Any]:
        order = self._orders.get(name) or Order(sort, descending=True)
        return whole_table(name, title, columns, rows, order=order, empty=empty, currency=self._of_session)


def read_changes(
    connection: WarehouseConnection,
    instance_id: int,
    *,
    currency: str,
    state: str | None = None,
    search: str | None = None,
    order: Order | None = None,
    page: int | None = 1,
    maximum: int | None = None,
) -> Table[ChangeRow]:
    """Return a page of the plan changes of an instance.

    Args:
        connection: a reading transaction.
        instance_id: the instance.
        currency: of all amounts.
        state: only changes in this state; None = all.
        search: start of an ICCID or a part of a rate plan's name; None = all.
        order: None = the largest saving first.
        page: number of the page from 1, None for all that an export holds.
        maximum: only this many rows, not counted; None = the rows of a page.
    """
    order = order if order is not None and order.sort in get_args(ChangeSort) else Order("saving", descending=True)
    size = maximum or (LARGEST_EXPORT if page is None else ROWS_OF_A_PAGE)
    wanted: dict[str, Any] = {"instance_id": instance_id, "state": state, "search": search}
    rows = store.changes(
        connection,
        **wanted,
        sort=cast("ChangeSort", order.sort),
        descending=order.descending,
        maximum=size,
        skipped=((page or 1) - 1) * size,
    )
    of_session: Callable[[ChangeRow], str] = lambda _row: currency  # noqa: E731 a method would need a class
    return Table(
        "changes",
        "Plan changes",
        CHANGE_COLUMNS,
        rows,
        order,
        "No plan change matches.",
        len(rows) if maximum else store.count_changes(connection, **wanted),
        page or 1,
        of_session,
    )


def _note(text: str | None) -> str | None:
    return None if text is None else shorten(text, LONGEST_NOTE, placeholder=" …")


def _balance(row: PoolRow) -> Any:
    if row.to_included_mb is None or row.to_usage_mb is None:
        return None
    return row.to_included_mb - row.to_usage_mb


def _fill(row: PoolRow) -> Any:
    return row.to_usage_mb / row.to_included_mb if row.to_included_mb and row.to_usage_mb is not None else None


def _reason(row: ExcludedRow) -> tuple[str, str]:
    reason = EXCLUSION_REASONS.get(row.reason)
    return (reason.words, reason.remedy) if reason else (formatting.words(row.reason), "")
