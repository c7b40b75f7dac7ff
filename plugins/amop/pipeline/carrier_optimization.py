"""The second half of an optimization: base assignment, solve, results, end.

Each step is one transaction that runs once; nothing is locked while the arrays are worked on. Which SIMs count in
every figure is said in `amop.pipeline.optimization_inputs`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from amop.domain.billing_period import days_in_period
from amop.domain.comm_groups import PLACED
from amop.optimization import CostModel, OptimizationResult, Terms, optimize, verify
from amop.optimization.bill import exact_sum
from amop.optimization.model import Integers, from_micro
from amop.pipeline.bill_items import pool_items, rate_plan_items
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_inputs import ProofError, input_errors
from amop.pipeline.optimization_runs import load_instance, locked_instance, running_instance
from amop.warehouse import optimization_instances as instances
from amop.warehouse.connection import transaction
from amop.warehouse.optimization_instances import InstanceInputs
from amop.warehouse.sessions import advance_session, complete_session, touch_session

log = logging.getLogger(__name__)

BASE_READY, SOLVED = 40, 50
"""Percent of a session after the base assignment, after the solve."""


class InputsChangedError(PipelineError):
    """Rate plans or SIMs changed between two steps of one instance, so that its figures would not add up."""


def assign_base(conninfo: str, instance_id: int) -> None:
    """Put each SIM on the plan whose included data is closest to its usage; cost that and the present plans (40 %)."""
    instance, inputs = _read(conninfo, instance_id)
    if instance["progress"] >= BASE_READY:
        return
    current_cost = base_cost = 0
    if len(inputs.devices):
        with input_errors(instance):
            model = _cost_model(instance, inputs)
        base = model.base_assignment()
        base_cost = model.bill(base)
        current_cost = model.bill(model.current_assignment()[0])
    with transaction(conninfo, application_name="amop assign_base") as connection:
        if locked_instance(connection, instance_id)["progress"] >= BASE_READY:
            return
        if len(inputs.devices):
            instances.write_base_assignment(connection, instance_id, inputs, base)
        instances.execute(
            connection,
            "note_base",
            instance_id=instance_id,
            current_cost=from_micro(current_cost),
            base_cost=from_micro(base_cost),
        )
        advance_session(connection, instance["session_id"], BASE_READY)
    log.info(
        "%s: %s SIMs cost %s today, %s on their base assignment",
        instance["service_provider_name"], len(inputs.devices), from_micro(current_cost), from_micro(base_cost),
    )  # fmt: skip


def solve(conninfo: str, instance_id: int) -> None:
    """Find the cheapest assignment of the whole provider, verify its proof, store both (AMOP 50 %).

    Raises:
        InputsChangedError: rate plans changed since the base assignment.
        ProofError: the result does not hold what it claims.
    """
    instance, inputs = _read(conninfo, instance_id)
    if instance["progress"] >= SOLVED:
        return
    result = _optimize(instance, inputs) if len(inputs.devices) else None
    with transaction(conninfo, application_name="amop solve") as connection:
        if locked_instance(connection, instance_id)["progress"] >= SOLVED:
            return
        if result is None:
            instances.note_solution(
                connection, instance_id, {}, total_cost=Decimal(0), lower_bound=Decimal(0), gap=Decimal(0)
            )
        else:
            instances.write_solved_assignment(connection, instance_id, inputs, result.assignment)
            instances.note_solution(
                connection,
                instance_id,
                result.certificate.as_json() | {"terms": asdict(result.model.terms)},
                total_cost=from_micro(result.total_cost),
                lower_bound=from_micro(result.lower_bound),
                gap=_gap(result),
            )
            if result.total_cost > result.current_cost:
                instances.execute(connection, "add_warning", instance_id=instance_id, warning=_dearer_warning(result))
        advance_session(connection, instance["session_id"], SOLVED)


def _optimize(instance: dict[str, Any], inputs: InstanceInputs) -> OptimizationResult:
    with input_errors(instance):
        result = optimize(
            inputs.devices,
            inputs.rate_plans,
            inputs.eligibility,
            period_days=_days(instance),
            uses_proration=instance["uses_proration"],
            prorate_allowance=instance["prorates_allowance"],
            pool_scope=instance["pool_scope"],
            min_saving_per_change=instance["minimum_saving_per_change"],
            max_changes=instance["maximum_changes"],
        )
        verify(result.certificate, result.model, result.assignment)
    _require_equal(instance, "current cost", from_micro(result.current_cost), instance["current_cost"])
    _require_equal(instance, "base cost", from_micro(result.base_cost), instance["base_cost"])
    if result.certificate.changes is None and result.total_cost > result.base_cost:
        raise ProofError(
            f"{instance['service_provider_name']}: the solution costs {from_micro(result.total_cost)}, more than the "
            f"base assignment ({from_micro(result.base_cost)}); nothing was written"
        )
    log.info(
        "%s: %s SIMs cost %s today and %s solved; proved not below %s (gap %.1e, %s), %.1f s",
        instance["service_provider_name"], len(inputs.devices), from_micro(result.current_cost),
        from_micro(result.total_cost), from_micro(result.lower_bound), _gap(result), result.status,
        result.seconds,
    )  # fmt: skip
    return result


def write_results(conninfo: str, instance_id: int) -> dict[str, int]:
    """Write one result row per placed SIM, both bills item by item and the proposed changes, once; nothing is applied.

    Raises:
        InputsChangedError: the costs of the SIMs do not add up to the stored totals, to the last 1e-6.
    """
    instance, inputs = _read(conninfo, instance_id)
    if instance["savings"] is None:
        current, solved = _bills(conninfo, instance, inputs)
        _require_equal(instance, "current cost", _total(current.costs), instance["current_cost"])
        _require_equal(instance, "total cost", _total(solved.costs), instance["total_cost"])
        with transaction(conninfo, application_name="amop write_results") as connection:
            if locked_instance(connection, instance_id)["savings"] is None:
                totals = instances.write_results(
                    connection, instance_id, inputs.device_ids, current.costs, solved.costs
                )
                for name in ("device_count", "current_cost", "total_cost"):
                    _require_equal(instance, name, totals[name], instance[name])
                for assignment, bill in (("current", current), ("solved", solved)):
                    instances.write_bill_items(connection, instance_id, assignment, bill.rate_plans, bill.pools)
                instances.execute(connection, "note_savings", instance_id=instance_id)
                touch_session(connection, instance["session_id"])
    with transaction(conninfo, application_name="amop write_results") as connection:
        totals = instances.row(connection, "result_totals", instance_id=instance_id) or {}
    return {"device_count": totals["device_count"], "changes": totals["changes"]}


@dataclass(frozen=True, slots=True)
class _Bill:
    """A bill taken apart: by SIM, by rate plan, by pool."""

    costs: Integers
    rate_plans: list[dict[str, Any]]
    pools: list[dict[str, Any]]


def _bills(conninfo: str, instance: dict[str, Any], inputs: InstanceInputs) -> tuple[_Bill, _Bill]:
    """Return the bill of the present plans and of the solved ones."""
    if not len(inputs.devices):
        return _Bill(inputs.device_ids, [], []), _Bill(inputs.device_ids, [], [])
    with transaction(conninfo, application_name="amop write_results") as connection:
        groups = instances.rows(connection, "comm_groups", instance_id=instance["id"])
    keys = [group["group_key"] for group in groups if group["outcome"] in PLACED]
    with input_errors(instance):
        model = _cost_model(instance, inputs)
    return _bill(model, model.current_assignment()[0], keys), _bill(model, inputs.solved_assignment, keys)


def _bill(model: CostModel, assignment: Integers, comm_group_keys: list[str]) -> _Bill:
    costs = model.split_costs(assignment)
    return _Bill(costs, rate_plan_items(model, assignment, costs), pool_items(model, assignment, comm_group_keys))


def publish_report(conninfo: str, instance_id: int, *, now: datetime) -> dict[str, Any]:
    """End instance and session as complete (AMOP 100 %), once; return counts and ``report_uri``, money is in the log.

    Raises:
        PipelineError: the results are not written.
    """
    with transaction(conninfo, application_name="amop publish_report") as connection:
        instance = load_instance(connection, instance_id)
        if instance["run_status"] != "complete_with_success":
            instance = locked_instance(connection, instance_id)
            if instance["savings"] is None:
                raise PipelineError(f"instance {instance_id} has no results; run write_results first")
            instances.execute(connection, "complete_instance", instance_id=instance_id, now=now)
            complete_session(connection, instance["session_id"])
        totals = instances.row(connection, "result_totals", instance_id=instance_id) or {}
    log.info(
        "%s: %s SIMs, cost %s -> %s (base %s, proved not below %s), savings %s, %s plan changes proposed",
        instance["service_provider_name"], instance["device_count"], instance["current_cost"], instance["total_cost"],
        instance["base_cost"], instance["lower_bound"], instance["savings"], totals["changes"],
    )  # fmt: skip
    names = ("device_count", "report_uri")
    return {name: instance[name] for name in names} | {"changes": totals["changes"]}


def _read(conninfo: str, instance_id: int) -> tuple[dict[str, Any], InstanceInputs]:
    """Return the running instance and its arrays; nothing is locked while the numbers are worked on."""
    with transaction(conninfo, application_name="amop read_inputs") as connection:
        instance = running_instance(connection, instance_id)
        with input_errors(instance):
            return instance, instances.read_inputs(connection, instance)


def _days(instance: dict[str, Any]) -> int:
    return days_in_period(instance["cycle_start"], instance["cycle_end"], instance["time_zone"])


def _cost_model(instance: dict[str, Any], inputs: InstanceInputs) -> CostModel:
    terms = Terms(_days(instance), instance["uses_proration"], instance["prorates_allowance"], instance["pool_scope"])
    return CostModel(inputs.devices, inputs.rate_plans, inputs.eligibility, terms)


def _total(costs: Integers) -> Decimal:
    return from_micro(exact_sum(costs) if len(costs) else 0)


def _gap(result: OptimizationResult) -> Decimal:
    """Return the share of the bill that may be above the least possible one."""
    if result.total_cost == 0:
        return Decimal(0)
    return Decimal(result.total_cost - result.lower_bound) / Decimal(result.total_cost)


def _dearer_warning(result: OptimizationResult) -> str:
    return (
        f"The solved plans cost {from_micro(result.total_cost)}, more than the present ones "
        f"({from_micro(result.current_cost)}): SIMs on retired plans, or on plans that their communication plan does "
        "not allow, must move"
    )


def _require_equal(instance: dict[str, Any], what: str, found: object, stored: object) -> None:
    if found != stored:
        raise InputsChangedError(
            f"{instance['service_provider_name']} ({instance['service_provider_id']}), instance {instance['id']}: "
            f"{what} is {found}, but {stored} was found before: rate plans or mappings were changed meanwhile. "
            "Nothing was written; trigger a new run"
        )
