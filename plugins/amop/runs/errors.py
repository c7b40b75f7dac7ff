"""Errors of the use cases. Each names the cause, the provider or run, and the remedy; a retry cannot help."""

from __future__ import annotations


class PipelineError(RuntimeError):
    """Base of the final errors of the use cases: the task fails without a retry."""


class SyncRunEndedError(PipelineError):
    """The device sync run is no longer running: it failed, was refused, or another run took over."""


class StepMissingError(PipelineError):
    """An earlier step of the run has not done its work, because its task was marked as success."""


class ListGuardError(PipelineError):
    """The device list cannot be trusted: endless paging, or a page that contradicts its ledger."""


class MergeRefusedError(PipelineError):
    """A guard refused the merge; no row of this run was merged."""


class BalanceError(PipelineError):
    """The number of staged rows differs from the number of merged plus quarantined rows."""
