"""Compute a what-if: solve the SIMs of the provider's latest optimization at present and at other prices."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from amop.database.connection import transaction
from amop.foreign_text import storable_error
from amop.optimization.arrays import InstanceInputs, read_inputs
from amop.optimization.errors import input_errors
from amop.optimization.instances import load_instance
from amop.optimization.rows import Instance
from amop.optimization.solve import terms_of
from amop.runs.errors import PipelineError
from amop.solver import OptimizationResult
from amop.solver.model import from_micro
from amop.what_if import store
from amop.what_if.plan_table import read_plan_table
from amop.what_if.scenario import Ladder, Scenario, moves

log = logging.getLogger(__name__)

MOST_MOVES = 1_000
"""Pairs of rate plans that are stored, those with the most SIMs."""


class WhatIfError(PipelineError):
    """A what-if cannot be computed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class WhatIfRequest:
    """What a run of the DAG asks for."""

    integration: str
    service_provider_id: int
    dag_id: str
    dag_run_id: str
    rate_plans: str
    """The table as CSV."""
    ladder_size: int | None
    """Number of new plans to choose; None = all at once."""


def compute_what_if(conninfo: str, request: WhatIfRequest, *, now: datetime) -> int:
    """Compute and store a what-if; return its id.

    Raises:
        WhatIfError: the provider is not of the integration, or was never optimized.
        PlanTableError: the table is not valid.
        OptimizationInputError: a plan cannot be billed.
    """
    with transaction(conninfo, application_name="amop what_if") as connection:
        what_if_id = store.open_what_if(
            connection,
            service_provider_id=request.service_provider_id,
            integration=request.integration,
            dag_id=request.dag_id,
            dag_run_id=request.dag_run_id,
            rate_plans=request.rate_plans,
            ladder_size=request.ladder_size,
            now=now,
        )
    if what_if_id is None:
        raise WhatIfError(f"integration {request.integration} has no service provider {request.service_provider_id}")
    try:
        _compute(conninfo, what_if_id, request, now)
    except Exception as error:
        with transaction(conninfo, application_name="amop what_if") as connection:
            text = storable_error(error) or type(error).__name__
            store.fail_what_if(connection, what_if_id=what_if_id, error=text, now=now)
        raise
    return what_if_id


def _compute(conninfo: str, what_if_id: int, request: WhatIfRequest, now: datetime) -> None:
    table = read_plan_table(request.rate_plans)
    instance, inputs, known = _read(conninfo, request)
    if not len(inputs.devices):
        raise WhatIfError(f"{instance.label} has no SIM that is billed")
    with input_errors(instance):
        terms = terms_of(instance)
        today = Scenario(inputs, inputs.rate_plans, inputs.eligibility, terms, ()).solve()
        scenario = Scenario.of(inputs, terms, table, known)
        ladders = scenario.ladders(request.ladder_size) if request.ladder_size else []
        best = _plans_of(scenario, ladders[0]) if ladders else None
        new = scenario.solve(best)
    _store(conninfo, what_if_id, instance, today, new, scenario, ladders, now)


def _read(conninfo: str, request: WhatIfRequest) -> tuple[Instance, InstanceInputs, frozenset[str]]:
    """Return the latest optimization of the provider, its SIMs, and the codes of all plans of the provider.

    Plan changes count for the whole period: a what-if is about the months to come.
    """
    provider_id = request.service_provider_id
    with transaction(conninfo, application_name="amop what_if") as connection:
        instance_id = store.latest_instance(
            connection, service_provider_id=provider_id, integration=request.integration
        )
        if instance_id is None:
            raise WhatIfError(
                f"service provider {provider_id} has no completed optimization whose SIMs are stored: optimize it first"
            )
        instance = load_instance(connection, instance_id)
        instance = replace(instance, upgrade_effect="whole_cycle", downgrade_effect="whole_cycle")
        known = frozenset(store.provider_plans(connection, service_provider_id=provider_id))
        with input_errors(instance):
            return instance, read_inputs(connection, instance), known


def _plans_of(scenario: Scenario, ladder: Ladder) -> list[int]:
    return [plan for plan in scenario.new_plans if scenario.rate_plans.code[plan] in ladder.rate_plans]


def _store(
    conninfo: str,
    what_if_id: int,
    instance: Instance,
    today: OptimizationResult,
    new: OptimizationResult,
    scenario: Scenario,
    ladders: list[Ladder],
    now: datetime,
) -> None:
    rows = moves(new, scenario.rate_plans)[:MOST_MOVES]
    with transaction(conninfo, application_name="amop what_if") as connection:
        store.delete_moves(connection, what_if_id=what_if_id)
        store.delete_ladders(connection, what_if_id=what_if_id)
        store.add_moves(
            connection,
            what_if_id=what_if_id,
            from_rate_plans=[row[0] for row in rows],
            to_rate_plans=[row[1] for row in rows],
            sims=[row[2] for row in rows],
        )
        for ladder in ladders:
            store.add_ladder(
                connection,
                what_if_id=what_if_id,
                rate_plans=list(ladder.rate_plans),
                cost=from_micro(ladder.cost),
                bound=from_micro(ladder.bound),
                changes=ladder.changes,
            )
        store.complete_what_if(
            connection,
            what_if_id=what_if_id,
            instance_id=instance.id,
            device_count=len(new.assignment),
            present_cost=from_micro(today.current_cost),
            today_cost=from_micro(today.total_cost),
            today_bound=from_micro(today.lower_bound),
            new_present_cost=from_micro(new.current_cost),
            new_cost=from_micro(new.total_cost),
            new_bound=from_micro(new.lower_bound),
            changes=new.changes,
            now=now,
        )
    log.info(
        "%s: %s SIMs cost %s today and %s with these plans, %s SIMs change",
        instance.service_provider_name,
        len(new.assignment),
        from_micro(today.total_cost),
        from_micro(new.total_cost),
        new.changes,
    )
