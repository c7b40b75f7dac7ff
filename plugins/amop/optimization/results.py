"""The results of an optimization: cost of each SIM, both bills item by item, proposed plan changes, and its end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization import store
from amop.optimization.arrays import InstanceInputs, write_device_results
from amop.optimization.bill_items import pool_items, rate_plan_items
from amop.optimization.errors import input_errors, require_equal
from amop.optimization.instances import load_instance, lock_instance
from amop.optimization.ordered_changes import OrderedChanges, order_of_changes, write_changes
from amop.optimization.rows import BillItems, Instance
from amop.optimization.solve import fleet_as_chosen, fleet_to_choose, read_running_instance, terms_of
from amop.runs.errors import PipelineError
from amop.runs.sessions import complete_session, touch_session
from amop.solver import CostModel
from amop.solver.bill import exact_sum
from amop.solver.mid_cycle import PartedFleet
from amop.solver.model import Integers, from_micro

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Bill:
    """A bill by SIM, by rate plan and by pool."""

    costs: Integers
    """1e-6 currency of each SIM."""
    items: BillItems

    @property
    def total(self) -> Decimal:
        return from_micro(exact_sum(self.costs) if len(self.costs) else 0)


@dataclass(frozen=True, slots=True)
class PublishedResults:
    """The counts of a completed instance, and where its workbook is."""

    device_count: int
    changes: int
    report_uri: str | None


def write_results(conninfo: str, instance_id: int) -> dict[str, int]:
    """Write one result row per billed SIM, both bills item by item and the proposed changes, once; apply nothing.

    Raises:
        InputsChangedError: the costs of the SIMs do not add up to the stored totals, to the last 1e-6.
    """
    instance, inputs = read_running_instance(conninfo, instance_id)
    if instance.savings is None:
        current, solved = _bills(conninfo, instance, inputs)
        require_equal(instance, "current cost", current.total, instance.current_cost)
        require_equal(instance, "total cost", solved.total, instance.total_cost)
        changes = _changes(instance, inputs)
        if changes is not None:
            require_equal(instance, "saving of all changes", changes.whole_saving, current.total - solved.total)
        with transaction(conninfo, application_name="amop write_results") as connection:
            if lock_instance(connection, instance_id).savings is None:
                _write(connection, instance, inputs, current, solved)
                write_changes(connection, instance_id, changes)
                store.results.set_savings(connection, instance_id=instance_id)
                touch_session(connection, instance.session_id)
    with transaction(conninfo, application_name="amop write_results") as connection:
        totals = store.results.result_totals(connection, instance_id=instance_id)
    return {"device_count": totals.device_count, "changes": totals.changes}


def _write(
    connection: WarehouseConnection, instance: Instance, inputs: InstanceInputs, current: _Bill, solved: _Bill
) -> None:
    totals = write_device_results(connection, instance, inputs.device_ids, current.costs, solved.costs)
    require_equal(instance, "device count", totals.device_count, instance.device_count + instance.kept_device_count)
    require_equal(instance, "current cost", totals.current_cost, instance.current_cost)
    require_equal(instance, "total cost", totals.total_cost, instance.total_cost)
    store.instances.delete_rows(connection, instance_id=instance.id, table="amop.optimization_rate_plan_result")
    store.instances.delete_rows(connection, instance_id=instance.id, table="amop.optimization_pool_result")
    for bill in (current, solved):
        store.results.copy_rate_plan_items.write(connection, bill.items.rate_plans)
        store.results.copy_pool_items.write(connection, bill.items.pools)


def _changes(instance: Instance, inputs: InstanceInputs) -> OrderedChanges | None:
    """Return the plan changes in the order of sending, None where no SIM is billed."""
    if not len(inputs.devices):
        return None
    fleet = fleet_to_choose(instance, inputs)
    with input_errors(instance):
        model = fleet.model(inputs.rate_plans, terms_of(instance))
    return order_of_changes(inputs, fleet, model, model.current_assignment()[0], instance.certificate or {})


def _bills(conninfo: str, instance: Instance, inputs: InstanceInputs) -> tuple[_Bill, _Bill]:
    """Return the bill of the present plans and of the solved ones."""
    if not len(inputs.devices):
        return _Bill(inputs.device_ids, BillItems()), _Bill(inputs.device_ids, BillItems())
    with transaction(conninfo, application_name="amop write_results") as connection:
        groups = store.comm_groups.comm_groups(connection, instance_id=instance.id)
    keys = [group.group_key for group in groups]
    fleet, terms = fleet_to_choose(instance, inputs), terms_of(instance)
    with input_errors(instance):
        model = fleet.model(inputs.rate_plans, terms)
        current, solved = fleet.of_sims(model.current_assignment()[0]), inputs.solved_assignment
        if inputs.mid_cycle is None:
            return (
                _bill(fleet, model, current, instance.id, "current", keys),
                _bill(fleet, model, solved, instance.id, "solved", keys),
            )
        billed = [fleet_as_chosen(inputs, terms, assignment) for assignment in (current, solved)]
        models = [parts.model(inputs.rate_plans, terms) for parts in billed]
    return (
        _bill(billed[0], models[0], current, instance.id, "current", keys),
        _bill(billed[1], models[1], solved, instance.id, "solved", keys),
    )


def _bill(
    fleet: PartedFleet,
    model: CostModel,
    assignment: Integers,
    instance_id: int,
    name: str,
    comm_group_keys: list[str],
) -> _Bill:
    """Return the bill of an assignment of the SIMs, from the rows that the carrier bills."""
    plans = fleet.of_rows(assignment)
    costs = model.split_costs(plans)
    sim = None if fleet.parts is None else fleet.sim
    rate_plans = rate_plan_items(model, plans, costs, instance_id=instance_id, name=name, sim=sim)
    pools = pool_items(model, plans, comm_group_keys, instance_id=instance_id, name=name, sim=sim)
    return _Bill(fleet.costs_of_sims(costs), BillItems(rate_plans, pools))


def publish_report(conninfo: str, instance_id: int, *, now: datetime) -> PublishedResults:
    """End instance and session as complete (AMOP 100 %), once; write money only to the log.

    Raises:
        PipelineError: the results are not written.
    """
    with transaction(conninfo, application_name="amop publish_report") as connection:
        instance = load_instance(connection, instance_id)
        if not instance.is_complete:
            instance = lock_instance(connection, instance_id)
            if instance.savings is None:
                raise PipelineError(f"instance {instance_id} has no results; run write_results first")
            store.instances.complete_instance(connection, instance_id=instance_id, now=now)
            complete_session(connection, instance.session_id)
        totals = store.results.result_totals(connection, instance_id=instance_id)
    log.info(
        "%s: %s SIMs, cost %s -> %s (base %s, lower bound %s), savings %s, %s plan changes proposed",
        instance.service_provider_name,
        instance.device_count,
        instance.current_cost,
        instance.total_cost,
        instance.base_cost,
        instance.lower_bound,
        instance.savings,
        totals.changes,
    )
    return PublishedResults(instance.device_count, totals.changes, instance.report_uri)
