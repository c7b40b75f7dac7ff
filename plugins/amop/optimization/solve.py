"""The second half of an optimization: the base assignment and the cheapest assignment.

Each step is one transaction that runs once; nothing is locked while the solver works. `amop.optimization.proof`
verifies and stores the proof, `amop.optimization.results` writes the results; `amop.optimization.inputs` defines which
SIMs are counted.
"""

from __future__ import annotations

import logging

from amop.database.connection import transaction
from amop.optimization import store
from amop.optimization.arrays import (
    USAGE_PERCENTS,
    InstanceInputs,
    read_inputs,
    write_base_assignment,
    write_device_forecasts,
    write_solved_assignment,
)
from amop.optimization.errors import input_errors, require_equal
from amop.optimization.expected_bill import (
    document_of,
    read_fleet_history,
    read_record,
    reason_without_scenarios,
    uses_scenarios,
    verify_expected,
)
from amop.optimization.instances import lock_instance, running_instance
from amop.optimization.proof import optimality_gap, store_proof, verify_solution
from amop.optimization.rows import Instance
from amop.reference.billing_period import days_in_period
from amop.runs.sessions import advance_session
from amop.solver import OptimizationResult, Terms, optimize
from amop.solver.changes import count_changes
from amop.solver.expected import ExpectedResult, optimize_expected
from amop.solver.mid_cycle import PartedFleet, parts_as_chosen, parts_to_choose
from amop.solver.model import Integers, from_micro
from amop.solver.stake import stakes_of, usage_quantiles
from amop.wording import money

log = logging.getLogger(__name__)

WITHOUT_SCENARIOS = "The plans were chosen by the point forecast of the usage, not by scenarios"
BASE_READY, SOLVED = 40, 50
"""Percent of a session after the base assignment, after the solve."""


def assign_base(conninfo: str, instance_id: int) -> int:
    """Put each SIM on the plan whose included data is closest to its usage; cost that and the present plans (40 %).

    Returns:
        The number of SIMs.
    """
    instance, inputs = read_running_instance(conninfo, instance_id)
    if instance.progress >= BASE_READY:
        return len(inputs.devices)
    current_cost = base_cost = 0
    base = inputs.devices.current_rate_plan
    if len(inputs.devices):
        fleet = fleet_to_choose(instance, inputs)
        with input_errors(instance):
            model = fleet.model(inputs.rate_plans, terms_of(instance))
        base_rows = model.base_assignment()
        base, base_cost = fleet.of_sims(base_rows), model.bill(base_rows)
        current_cost = model.bill(model.current_assignment(base_rows)[0])
    with transaction(conninfo, application_name="amop assign_base") as connection:
        if lock_instance(connection, instance_id).progress >= BASE_READY:
            return len(inputs.devices)
        if len(inputs.devices):
            write_base_assignment(connection, instance_id, inputs, base)
        store.results.set_base_costs(
            connection,
            instance_id=instance_id,
            current_cost=from_micro(current_cost),
            base_cost=from_micro(base_cost),
        )
        advance_session(connection, instance.session_id, BASE_READY)
    log.info(
        "%s: %s SIMs cost %s today, %s on their base assignment",
        instance.service_provider_name,
        len(inputs.devices),
        from_micro(current_cost),
        from_micro(base_cost),
    )
    return len(inputs.devices)


def solve(conninfo: str, instance_id: int) -> int:
    """Find the cheapest assignment of the whole provider, verify its proof, store both (AMOP 50 %).

    Returns:
        The number of SIMs.

    Raises:
        InputsChangedError: rate plans changed since the base assignment.
        ProofError: the solution does not verify against its certificate.
    """
    instance, inputs = read_running_instance(conninfo, instance_id)
    if instance.progress >= SOLVED:
        return len(inputs.devices)
    result, expected, document, warning, uncapped = None, None, None, None, None
    if len(inputs.devices) and uses_scenarios(instance):
        warning = reason_without_scenarios(instance, inputs, read_record(conninfo, instance))
        if warning is None:
            history = read_fleet_history(conninfo, instance, inputs)
            expected = _optimize_expected(instance, inputs, history.scenarios())
            document = document_of(expected, history.interval(expected.bills.model, expected.assignment))
    if len(inputs.devices):
        result = expected.at_point_forecast if expected else _optimize(instance, inputs)
        uncapped = _optimize_without_cap(instance, inputs, result)
    with transaction(conninfo, application_name="amop solve") as connection:
        if lock_instance(connection, instance_id).progress >= SOLVED:
            return len(inputs.devices)
        if result is not None:
            assignment = result.assignment[: len(inputs.devices)]
            write_solved_assignment(connection, instance_id, inputs, assignment)
        if expected is not None:
            usage = usage_quantiles(expected.bills, USAGE_PERCENTS)
            stakes = stakes_of(expected.bills, expected.certificate, expected.assignment)
            write_device_forecasts(connection, instance_id, inputs, usage, stakes)
        store_proof(connection, instance, result, document)
        if uncapped is not None:
            store.results.set_uncapped(
                connection,
                instance_id=instance_id,
                uncapped_cost=from_micro(uncapped.total_cost),
                uncapped_change_count=count_changes(uncapped.model, uncapped.assignment),
            )
        if warning:
            store.instances.add_warning(connection, instance_id=instance_id, warning=f"{WITHOUT_SCENARIOS}: {warning}")
        if result is not None and expected is None and result.total_cost > result.current_cost:
            store.instances.add_warning(
                connection, instance_id=instance_id, warning=_cost_increase_warning(result, instance.currency)
            )
        advance_session(connection, instance.session_id, SOLVED)
    return len(inputs.devices)


def _optimize(instance: Instance, inputs: InstanceInputs) -> OptimizationResult:
    result = _cheapest(instance, inputs, max_changes=instance.maximum_changes)
    require_equal(instance, "current cost", from_micro(result.current_cost), instance.current_cost)
    require_equal(instance, "base cost", from_micro(result.base_cost), instance.base_cost)
    verify_solution(instance, result)
    log.info(
        "%s: %s SIMs cost %s today and %s solved; lower bound %s (gap %.1e, %s), %.1f s",
        instance.service_provider_name,
        len(inputs.devices),
        from_micro(result.current_cost),
        from_micro(result.total_cost),
        from_micro(result.lower_bound),
        optimality_gap(result),
        result.status,
        result.seconds,
    )
    return result


def _cheapest(instance: Instance, inputs: InstanceInputs, *, max_changes: int | None) -> OptimizationResult:
    fleet = fleet_to_choose(instance, inputs)
    with input_errors(instance):
        return optimize(
            fleet.devices,
            inputs.rate_plans,
            fleet.eligibility,
            period_days=_days(instance),
            uses_proration=instance.uses_proration,
            prorate_allowance=instance.prorates_allowance,
            pool_scope=instance.pool_scope,
            min_saving_per_change=instance.minimum_saving_per_change,
            max_changes=max_changes,
            parts=fleet.parts,
        )


def _optimize_without_cap(
    instance: Instance, inputs: InstanceInputs, result: OptimizationResult
) -> OptimizationResult | None:
    """Return the solution without the cap on plan changes, to say what the cap costs; None where it does not bind.

    A cap binds where it is reached, and where the proof needs a price per change: the best plans may then have one
    change less than the cap, because no single further change saves.
    """
    changes = result.certificate.changes
    if changes is None or changes.max_changes is None:
        return None
    if changes.change_count < changes.max_changes and changes.change_price <= changes.min_saving:
        return None
    return _cheapest(instance, inputs, max_changes=None)


def _optimize_expected(instance: Instance, inputs: InstanceInputs, usage: Integers) -> ExpectedResult:
    with input_errors(instance):
        result = optimize_expected(
            inputs.devices,
            inputs.rate_plans,
            inputs.eligibility,
            usage,
            period_days=_days(instance),
            uses_proration=instance.uses_proration,
            prorate_allowance=instance.prorates_allowance,
            pool_scope=instance.pool_scope,
            min_saving_per_change=instance.minimum_saving_per_change,
            risk_weight=instance.risk_weight,
        )
    require_equal(instance, "current cost", from_micro(result.point.current_cost), instance.current_cost)
    require_equal(instance, "base cost", from_micro(result.point.base_cost), instance.base_cost)
    verify_solution(instance, result.point)
    verify_expected(instance, result)
    log.info(
        "%s: %s SIMs are expected to cost %s, lower bound %s (gap %.1e); the plans of the point forecast %s; %.1f s",
        instance.service_provider_name,
        len(inputs.devices),
        from_micro(result.risk.expected()),
        from_micro(result.expected_lower_bound),
        result.gap,
        from_micro(result.point_risk.expected()),
        result.seconds,
    )
    return result


def _cost_increase_warning(result: OptimizationResult, currency: str) -> str:
    return (
        f"The solved plans cost {money(from_micro(result.total_cost), currency)}, more than the present ones "
        f"({money(from_micro(result.current_cost), currency)}): SIMs on retired plans, or on plans that their "
        "communication plan does not allow, must move"
    )


def read_running_instance(conninfo: str, instance_id: int) -> tuple[Instance, InstanceInputs]:
    """Return the running instance and its arrays; nothing stays locked.

    Raises:
        InstanceEndedError: the instance or its session has ended.
        OptimizationInputError: an input cannot be billed.
    """
    with transaction(conninfo, application_name="amop read_inputs") as connection:
        instance = running_instance(connection, instance_id)
        with input_errors(instance):
            return instance, read_inputs(connection, instance)


def fleet_to_choose(instance: Instance, inputs: InstanceInputs) -> PartedFleet:
    """Return the rows that the solver places: SIMs, or parts of them where a plan change counts from its day."""
    if inputs.mid_cycle is None:
        return PartedFleet.whole(inputs.devices, inputs.eligibility)
    return parts_to_choose(inputs.devices, inputs.eligibility, terms_of(instance), inputs.mid_cycle)


def fleet_as_chosen(inputs: InstanceInputs, terms: Terms, assignment: Integers) -> PartedFleet:
    """Return the rows that the carrier bills: SIMs, or parts of them where a plan change counts from its day.

    Args:
        inputs: the SIMs.
        terms: how the provider bills.
        assignment: plan of each SIM, shape (N,), -1 for a SIM that is not billed.
    """
    if inputs.mid_cycle is None:
        return PartedFleet.whole(inputs.devices, inputs.eligibility)
    return parts_as_chosen(inputs.devices, inputs.eligibility, terms, inputs.mid_cycle, assignment)


def terms_of(instance: Instance) -> Terms:
    """Return the terms of the bill by the provider's present settings."""
    return Terms(_days(instance), instance.uses_proration, instance.prorates_allowance, instance.pool_scope)


def _days(instance: Instance) -> int:
    return days_in_period(instance.cycle_start, instance.cycle_end, instance.time_zone)
