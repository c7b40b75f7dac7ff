"""The proof of a solution: verified against its certificate, then stored with the cost and the lower bound."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.optimization import store
from amop.optimization.change_effects import effects_of
from amop.optimization.errors import ProofError, input_errors
from amop.optimization.proof_files import proof_document
from amop.optimization.rows import Instance
from amop.solver import OptimizationResult, verify
from amop.solver.model import from_micro


def verify_solution(instance: Instance, result: OptimizationResult) -> None:
    """Compute bill and lower bound again from the inputs and compare them with the certificate.

    Raises:
        ProofError: they differ, or the solution costs more than the base assignment although changes are not limited.
    """
    with input_errors(instance):
        verify(result.certificate, result.model, result.assignment)
    if result.certificate.changes is None and result.total_cost > result.base_cost:
        raise ProofError(
            f"{instance.service_provider_name}: the solution costs {from_micro(result.total_cost)}, more than the "
            f"base assignment ({from_micro(result.base_cost)}); nothing was written"
        )


def store_proof(
    connection: WarehouseConnection,
    instance: Instance,
    result: OptimizationResult | None,
    expected_bill: dict[str, Any] | None,
) -> None:
    """Store the solved cost with its lower bound, gap and certificate; an instance without SIMs costs 0.

    The certificate has the terms of the bill, and when plan changes count unless they count for the whole period. The
    expected bill (`amop.optimization.expected_bill`) is stored with it where scenarios chose the plans.
    """
    effects = effects_of(instance)
    if result is None:
        nothing = Decimal(0)
        store.results.set_solution(
            connection,
            instance_id=instance.id,
            total_cost=nothing,
            lower_bound=nothing,
            gap=nothing,
            certificate=Jsonb({}),
            expected_bill=None,
        )
        return
    store.results.set_solution(
        connection,
        instance_id=instance.id,
        total_cost=from_micro(result.total_cost),
        lower_bound=from_micro(result.lower_bound),
        gap=optimality_gap(result),
        certificate=Jsonb(
            proof_document(result) | ({} if effects.is_default else {"change_effects": effects.as_json()})
        ),
        expected_bill=None if expected_bill is None else Jsonb(expected_bill),
    )


def optimality_gap(result: OptimizationResult) -> Decimal:
    """Return the difference of cost and lower bound as a share of the cost."""
    if result.total_cost == 0:
        return Decimal(0)
    return Decimal(result.total_cost - result.lower_bound) / Decimal(result.total_cost)
