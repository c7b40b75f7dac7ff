"""Errors of the use cases. Each says what, where, whose and what to do; none is cured by trying again at once."""

from __future__ import annotations


class PipelineError(RuntimeError):
    """Base of the final errors of the use cases: the task fails and is not tried again."""


class SyncRunEndedError(PipelineError):
    """The device sync run is no longer running: it failed, was refused, or another run took over."""


class ListGuardError(PipelineError):
    """The device list cannot be trusted: endless paging, or a page that contradicts its ledger."""


class MergeRefusedError(PipelineError):
    """A guard refused the merge; nothing of this run was merged."""


class BalanceError(PipelineError):
    """Rows in differ from rows merged plus rows quarantined."""
