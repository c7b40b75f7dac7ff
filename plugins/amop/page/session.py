"""The view of an optimization session: progress, costs, proof, groups, plan migration, pools, changes and approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from amop import ids
from amop.database.connection import WarehouseConnection
from amop.optimization.known_changes import known_change_notes
from amop.page import formatting
from amop.page.pictures import FlowPicture, LinePicture, PlanFlow, flow_picture, line_picture
from amop.page.session_tables import SESSION_COLUMNS, UNKNOWN_PLAN, SessionTables, read_changes
from amop.page.store import sessions as store
from amop.page.store.sessions import ChangeRow, CurvePoint, ExcludedRow, SessionRow, Step, StoredSession
from amop.page.table import Order, Table, whole_table
from amop.plan_changes.store.decisions import Move, changes_by_state
from amop.reports.store import CommGroupRow, PoolRow, RatePlanRow
from amop.reports.store import comm_groups as read_comm_groups
from amop.reports.store import pools as read_pools
from amop.reports.store import rate_plans as read_rate_plans
from amop.runs.lost_changes import ChangesRun, approval_loss, approval_step, sending_loss, sending_step
from amop.runs.store.sync_runs import warnings_of_instance
from amop.wording import capped, money, reached, several

LISTED_SESSIONS = 500
TOP_SAVERS = 10
STAGES = (0, 20, 30, 40, 50, 100)
STAGE_NAMES = {
    0: "session opened",
    20: "sync queued",
    30: "groups checked",
    40: "base assignment",
    50: "optimized",
    100: "results published",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a session from 0 to 100 percent."""

    percent: int
    name: str
    reached_at: datetime | None
    message: str | None
    """State of AMOP's message, None until it is written."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A pending approval request, as Airflow's human-in-the-loop API names it."""

    dag_id: str
    run_id: str
    task_id: str

    @property
    def page(self) -> str:
        """Return the address of the request in Airflow, relative to Airflow's root."""
        run = formatting.airflow_run(self.dag_id, self.run_id)
        return f"{run}/tasks/{quote(self.task_id, safe='')}/required_actions"

    @property
    def api(self) -> str:
        """Return the address to which the answer is sent, relative to Airflow's root."""
        dag, run = quote(self.dag_id, safe=""), quote(self.run_id, safe="")
        return f"api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{quote(self.task_id, safe='')}/-1/hitlDetails"


@dataclass(frozen=True, slots=True)
class SessionView:
    """The whole view."""

    stored: StoredSession
    run_address: str
    """Of the optimization's run in Airflow."""
    stages: list[Stage]
    proof: str
    known_changes: list[str]
    """What the optimization knew of plan changes after the last list of devices, in sentences."""
    risk: list[str]
    """How uncertain the bill is, in sentences."""
    decision: str
    """Why the plan changes are in their state, and who decided when, after the name of that state."""
    stop: str | None
    """What has stopped the plan changes, and what to do."""
    reached: str | None
    """What the applied changes have done to the bill, where not all were applied."""
    warnings: list[str]
    groups: Table[CommGroupRow]
    plans: Table[RatePlanRow]
    flow: FlowPicture | None
    moves: Table[Move]
    pools: Table[PoolRow]
    excluded: Table[ExcludedRow]
    changes_by_state: dict[str, int]
    top_savers: Table[ChangeRow]
    curve: LinePicture | None
    curve_points: list[CurvePoint]
    approval: Approval | None


def read_sessions(
    connection: WarehouseConnection, *, integrations: list[str], service_provider_id: int | None, order: Order | None
) -> Table[SessionRow]:
    """Return the latest sessions as a table."""
    rows = store.sessions(
        connection, integrations=integrations, service_provider_id=service_provider_id, maximum=LISTED_SESSIONS
    )
    return whole_table(
        "sessions",
        f"Optimization sessions, the latest {LISTED_SESSIONS}" if len(rows) == LISTED_SESSIONS else "Sessions",
        SESSION_COLUMNS,
        rows,
        order=order or Order("id", descending=True),
        empty="No optimization session yet. One starts when fewer than 8 days of a billing period are left.",
        currency=lambda row: row.currency,
    )


def read_session(
    connection: WarehouseConnection, session_id: int, *, integrations: list[str], orders: dict[str, Order]
) -> SessionView | None:
    """Return a session, None where there is none that the user may see.

    Args:
        connection: a reading transaction.
        session_id: id of the session.
        integrations: names of the integrations that the user may see.
        orders: order of each table by its name; the others have their own.
    """
    stored = store.find_session(connection, session_id=session_id, integrations=integrations)
    if stored is None:
        return None
    instance_id = stored.instance_id or 0
    moved = store.moves(connection, instance_id=instance_id)
    plans = read_rate_plans(connection, instance_id=instance_id)
    curve = store.saving_curve(connection, instance_id=instance_id)
    tables = SessionTables(stored, orders)
    states = changes_by_state(connection, instance_id)
    return SessionView(
        stored=stored,
        run_address=run_address(stored),
        stages=stages(stored, store.session_steps(connection, session_id=session_id)),
        proof=proof_sentence(stored),
        known_changes=known_change_notes(stored.applied_plan_count, stored.change_in_doubt_count),
        risk=risk_sentences(stored),
        decision=decision_words(stored),
        stop=stop_sentence(stored, states.get("approved", 0)),
        reached=_reached(connection, stored, states),
        warnings=[
            *(stored.warning or "").splitlines(),
            *(row.warning for row in warnings_of_instance(connection, instance_id=instance_id)),
        ],
        groups=tables.groups(read_comm_groups(connection, instance_id=instance_id)),
        plans=tables.plans(plans),
        flow=flow_picture(plan_flows(plans, moved)),
        moves=tables.moves(moved),
        pools=tables.pools(read_pools(connection, instance_id=instance_id)),
        excluded=tables.excluded(
            store.exclusions(connection, instance_id=instance_id, service_provider_id=stored.service_provider_id)
        ),
        changes_by_state=states,
        top_savers=tables.top_savers(
            read_changes(connection, instance_id, currency=stored.currency, maximum=TOP_SAVERS).rows
        ),
        curve=line_picture(
            [(point.change_count, point.saving) for point in curve],
            [f"{several(point.change_count, 'change')}: {money(point.saving, stored.currency)}" for point in curve],
        ),
        curve_points=curve,
        approval=pending_approval(stored),
    )


def stages(stored: StoredSession, steps: list[Step]) -> list[Stage]:
    """Return the steps of a session with the moment at which each was reached."""
    written = {step.progress: step for step in steps if step.kind == "progress"}
    return [
        Stage(
            percent,
            STAGE_NAMES[percent],
            written[percent].created_at if percent in written else (stored.started_at if not percent else None),
            written[percent].state if percent in written else None,
        )
        for percent in STAGES
    ]


def proof_sentence(stored: StoredSession) -> str:
    """Return what the proof means in a sentence."""
    if stored.total_cost is None or stored.lower_bound is None:
        return "There is no result yet." if stored.status == "running" else "This session has no result."
    rest = stored.total_cost - stored.lower_bound
    cap = capped(stored.change_cap, stored.uncapped_changes, stored.uncapped_saving, stored.currency)
    if not stored.device_count:
        return "No SIM was placed, so there is nothing to prove."
    if rest <= 0:
        return "This is the least possible bill: it is proved that no assignment of plans costs less."
    limit = "" if cap is None else f" The plan changes are {cap}.{_within_cap(stored)}"
    return (
        f"At most {money(rest, stored.currency)} ({formatting.share(stored.gap, decimals=4)}) could still "
        f"be saved: it is proved that no assignment of plans costs less than "
        f"{money(stored.lower_bound, stored.currency)}.{limit}"
    )


def _within_cap(stored: StoredSession) -> str:
    if stored.capped_rest is None:
        return ""
    if stored.capped_rest <= 0:
        return " Within the cap, no assignment of plans costs less."
    return f" Within the cap, at most {money(stored.capped_rest, stored.currency)} could still be saved."


def risk_sentences(stored: StoredSession) -> list[str]:
    """Return how uncertain the bill is, and which pools may run over, in sentences; none without scenarios."""
    if stored.expected_cost is None:
        return []
    figures = (stored.expected_cost, stored.cost_5_percent, stored.cost_95_percent)
    expected, low, high = (money(amount, stored.currency) for amount in figures)
    sentences = [f"The expected bill is {expected}; with a probability of 90 % it is within {low} and {high}."]
    if stored.worst_tenth_cost is not None:
        worst = money(stored.worst_tenth_cost, stored.currency)
        sentences.append(f"In the worst tenth of the scenarios it is {worst} on the mean.")
    if stored.risk_adjusted_gap is not None:
        gap = formatting.share(stored.risk_adjusted_gap, decimals=4)
        sentences.append(
            f"With the worst tenth weighted by {stored.risk_weight}, the bill is at most {gap} above the least one."
        )
    for pool in stored.expected_pools or ():
        if pool["overage_probability"] > 0:
            chance = formatting.share(pool["overage_probability"], decimals=0)
            overage = money(Decimal(pool["expected_overage"]), stored.currency)
            name = formatting.pool(pool["pool"])
            sentences.append(f"Pool {name} runs over with a probability of {chance}: {overage} of overage on the mean.")
    return sentences


def stop_sentence(stored: StoredSession, unsent: int) -> str | None:
    """Return what has stopped the plan changes of a session and what to do; None where all is well.

    Args:
        stored: the session.
        unsent: its approved changes that were not sent.
    """
    run = ChangesRun(
        stored.integration,
        stored.service_provider_id,
        stored.id,
        is_deleted=stored.run_is_deleted,
        has_ended=stored.approval_is_lost if stored.changes_status == "waiting" else stored.applying_is_lost,
    )
    if stored.changes_status == "waiting":
        loss = approval_loss(run)
        return None if loss is None else f"The plan changes wait for an approval: {loss}. Next: {approval_step(run)}."
    is_stopped = stored.changes_status == "stopped"
    reason = stored.changes_reason if is_stopped else sending_loss(run) if stored.changes_status == "approved" else None
    if not unsent or reason is None:
        return None
    changes = several(unsent, "approved plan change was", "approved plan changes were")
    step = sending_step(run, is_stopped=is_stopped, reason=reason)
    return f"{changes} not sent: {reason.rstrip('.')}. Next: {step}."


def _reached(connection: WarehouseConnection, stored: StoredSession, states: dict[str, int]) -> str | None:
    """Return what the applied changes have done to the bill, in a sentence; None if all or none were applied."""
    applied, whole = states.get("applied", 0), sum(states.values())
    if stored.instance_id is None or not 0 < applied < whole:
        return None
    saving = store.applied_saving(connection, instance_id=stored.instance_id)
    return f"{reached(applied, whole, saving, stored.savings, stored.currency)}."


def pending_approval(stored: StoredSession) -> Approval | None:
    """Return the pending approval request of a session, None if there is none."""
    if (
        stored.changes_status != "waiting"
        or not stored.changes_planned_by
        or stored.run_is_deleted
        or stored.approval_is_lost
    ):
        return None
    dag_id, _, run_id = stored.changes_planned_by.partition("/")
    return Approval(dag_id, run_id, ids.APPROVE_CHANGES_TASK) if run_id else None


def decision_words(stored: StoredSession) -> str:
    """Return the reason of the plan changes' state, without the state and the user that it begins with said twice."""
    status, by = stored.changes_status or "", stored.changes_decided_by
    reason = (stored.changes_reason or "").removeprefix(formatting.words(status)).lstrip(" :")
    if status == "waiting" or by is None:
        return reason
    when = formatting.moment(stored.changes_decided_at)
    if reason == f"by {by}" or reason.startswith((f"by {by}:", f"by {by},")):
        return f"{reason}; {when}"
    return f"{reason}; decided by {by}, {when}" if reason else f"decided by {by}, {when}"


def run_address(stored: StoredSession) -> str:
    """Return the address of the optimization's run in Airflow."""
    dag_id = ids.carrier_optimization_dag(stored.integration)
    opened_in, _, run_id = stored.opened_by.partition("/")
    if opened_in != dag_id or not run_id:
        run_id = ids.optimization_run_id(stored.id)
    return formatting.airflow_run(dag_id, run_id)


def plan_flows(plans: list[RatePlanRow], moved: list[Move]) -> list[PlanFlow]:
    """Return the moves between plans, and the SIMs that stay on each plan."""
    flows = [PlanFlow(move.from_rate_plan or UNKNOWN_PLAN, move.to_rate_plan, move.change_count) for move in moved]
    arriving: dict[str, int] = {}
    for move in moved:
        arriving[move.to_rate_plan] = arriving.get(move.to_rate_plan, 0) + move.change_count
    stays = [
        PlanFlow(
            plan.rate_plan_code, plan.rate_plan_code, (plan.to_device_count or 0) - arriving.get(plan.rate_plan_code, 0)
        )
        for plan in plans
    ]
    return [*flows, *(flow for flow in stays if flow.sims > 0)]
