"""A warning of a sync run: an implausible answer of the carrier that was merged nevertheless."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A warning with the run that has it."""

    run_id: int
    dag_run_id: str
    warning: str
    """A sentence with figures and samples."""
