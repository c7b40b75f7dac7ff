"""Errors of an optimization's inputs and results; all are final."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amop.optimization.rows import Instance
from amop.runs.errors import PipelineError
from amop.solver import CertificateError, OptimizerInputError


class OptimizationInputError(PipelineError):
    """The inputs cannot be billed; the message names the SIM or the rate plan."""


class ProofError(PipelineError):
    """The solution does not verify against its certificate; nothing of it was written."""


class InputsChangedError(PipelineError):
    """Rate plans or SIMs changed between two steps of one instance, so that its figures would not add up."""


@contextmanager
def input_errors(instance: Instance) -> Iterator[None]:
    """Turn the errors of the solver into final errors that name the provider and the instance.

    Raises:
        OptimizationInputError: an input cannot be billed.
        ProofError: the solution does not verify against its certificate.
    """
    try:
        yield
    except OptimizerInputError as error:
        raise OptimizationInputError(f"{instance.label}: {error}") from error
    except CertificateError as error:
        raise ProofError(f"{instance.label}: {error}; nothing was written") from error


def require_equal(instance: Instance, what: str, found: object, stored: object) -> None:
    """Check that a figure computed again is the stored one.

    Raises:
        InputsChangedError: it is not.
    """
    if found != stored:
        raise InputsChangedError(
            f"{instance.label}: {what} is {found}, but {stored} was stored before: rate plans or mappings were changed "
            "in between. Nothing was written; trigger a new run"
        )
