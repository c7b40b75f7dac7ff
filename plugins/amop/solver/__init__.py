"""Assign every SIM to one eligible rate plan so that the carrier's bill is least, and prove how close it is."""

from amop.solver.bill import CostModel, Terms
from amop.solver.certificate import Certificate, verify
from amop.solver.model import Devices, Eligibility, OptimizerInputError, RatePlans, from_micro, micro, pools_of
from amop.solver.proof_tree import CertificateError
from amop.solver.solver import OptimizationResult, optimize

__all__ = [
    "Certificate",
    "CertificateError",
    "CostModel",
    "Devices",
    "Eligibility",
    "OptimizationResult",
    "OptimizerInputError",
    "RatePlans",
    "Terms",
    "from_micro",
    "micro",
    "optimize",
    "pools_of",
    "verify",
]
