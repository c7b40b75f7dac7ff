"""Check the proof of an answer of ``amop optimize`` again, without the optimizer: ``amop verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amop.cli.optimize import expected_errors, print_figures
from amop.optimization.csv_files import read_inputs
from amop.optimization.proof_files import read_answer, read_proof
from amop.solver import Certificate, CostModel, OptimizerInputError, from_micro, verify


def verify_command(
    devices: Annotated[Path, typer.Option(help="CSV of the SIMs, as given to `amop optimize`.")],
    rate_plans: Annotated[Path, typer.Option(help="CSV of the rate plans.")],
    eligibility: Annotated[Path, typer.Option(help="CSV of the rate plans that each communication plan allows.")],
    answer: Annotated[Path, typer.Option(help="CSV that `amop optimize` wrote with --out.")],
    proof: Annotated[Path, typer.Option(help="JSON that `amop optimize` wrote with --proof.")],
) -> None:
    """Compute the bill and its lower bound from the files and the proof only, in integers, without a solver.

    Exit status 1: the proof does not hold. Exit status 2: a file is invalid.
    """
    with expected_errors("the proof does not hold"):
        certificate, terms = read_proof(proof)
        inputs = read_inputs(devices, rate_plans, eligibility, period_days=terms.period_days)
        assignment = read_answer(answer, inputs)
        try:
            model = CostModel(inputs.devices, inputs.rate_plans, inputs.eligibility, terms)
        except OptimizerInputError as error:
            raise inputs.locate(error) from None
        verify(certificate, model, assignment)
    print_figures(verified_figures(certificate, len(assignment)), title="Proof")


def verified_figures(certificate: Certificate, device_count: int) -> dict[str, object]:
    """Return what a certificate proves, by name: money as decimal strings with 6 places."""
    bill, bound = certificate.bill, certificate.proved_bound
    figures: dict[str, object] = {
        "device_count": device_count,
        "total_cost": str(from_micro(bill)),
        "proved_lower_bound": str(from_micro(bound)),
        "proved_gap": (bill - bound) / bill if bill else 0.0,
        "claimed_lower_bound": str(from_micro(certificate.lower_bound)),
    }
    if (changes := certificate.changes) is not None:
        figures["voluntary_changes"] = changes.change_count
        figures["objective"] = str(from_micro(changes.objective))
        figures["proved_objective_bound"] = str(from_micro(changes.price_bound))
        figures["claimed_objective_bound"] = str(from_micro(changes.bound))
    return figures
