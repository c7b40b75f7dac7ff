"""The report of an optimization: its figures, and the records of its workbook and its e-mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization.exclusions import EXCLUSION_REASONS, ExclusionReason
from amop.optimization.instances import InstanceEndedError
from amop.optimization.known_changes import known_change_notes
from amop.optimization.store.sims import exclusion_counts
from amop.reports import store
from amop.reports.store import StoredReport
from amop.runs.errors import PipelineError
from amop.wording import capped


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The number of SIMs that were excluded for one reason."""

    reason: ExclusionReason
    device_count: int


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of an optimization whose results are written."""

    stored: StoredReport
    current_cost: Decimal
    base_cost: Decimal
    total_cost: Decimal
    lower_bound: Decimal
    savings: Decimal
    gap: Decimal
    """Difference of optimized cost and lower bound as a share of the optimized cost."""
    certificate: dict[str, Any]
    exclusions: list[Exclusion]

    @property
    def provider(self) -> str:
        """The provider's name and id."""
        return f"{self.stored.service_provider_name} ({self.stored.service_provider_id})"

    @property
    def savings_share(self) -> Decimal:
        """Savings as a share of the present cost."""
        return self.savings / self.current_cost if self.current_cost else Decimal(0)

    @property
    def warnings(self) -> list[str]:
        """The warnings of the instance."""
        return (self.stored.warning or "").splitlines()

    @property
    def notes(self) -> list[str]:
        """What to know of the plan changes, in sentences: their cap, and changes that the last list does not show."""
        stored = self.stored
        cap = capped(stored.change_cap, stored.uncapped_changes, stored.uncapped_saving, stored.currency)
        limit = [] if cap is None else [f"The plan changes are {cap}."]
        return [*limit, *known_change_notes(stored.applied_plan_count, stored.change_in_doubt_count)]

    @property
    def workbook_key(self) -> str:
        """The object key of the workbook, unique among providers, sessions and integrations."""
        stored = self.stored
        return (
            f"carrier_optimization/{stored.integration}/{stored.service_provider_id}/"
            f"{stored.bill_year}-{stored.bill_month:02}/optimization_{stored.session_id}.xlsx"
        )

    def local_time(self, moment: datetime | None) -> str:
        """Return a moment in the provider's time zone, to the minute; ``unknown`` for None."""
        if moment is None:
            return "unknown"
        time_zone = self.stored.time_zone
        return f"{moment.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M} {time_zone}"


def load_report(connection: WarehouseConnection, instance_id: int) -> Report:
    """Return the report of an instance.

    Raises:
        InstanceEndedError: the instance ended with errors.
        PipelineError: it does not exist, its results are not written, or the results of its SIMs were deleted.
    """
    stored = store.find_report(connection, instance_id=instance_id)
    if stored is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    label = f"{stored.service_provider_name} ({stored.service_provider_id}): instance {instance_id}"
    if stored.run_status == "complete_with_errors":
        raise InstanceEndedError(f"{label} ended with errors, it has no report: {stored.error}")
    figures = (stored.current_cost, stored.base_cost, stored.total_cost, stored.lower_bound, stored.savings, stored.gap)
    current_cost, base_cost, total_cost, lower_bound, savings, gap = figures
    if (
        savings is None
        or current_cost is None
        or base_cost is None
        or total_cost is None
        or lower_bound is None
        or gap is None
    ):
        raise PipelineError(f"{label} has no results; run write_results first")
    if stored.devices_removed_at is not None:
        raise PipelineError(
            f"{label}: its SIMs were removed by maintenance on {stored.devices_removed_at:%Y-%m-%d}, a report can no "
            f"longer be written; the earlier one is {stored.report_uri or '(none)'}"
        )
    counts = {each.reason: each.device_count for each in exclusion_counts(connection, instance_id=instance_id)}
    return Report(
        stored=stored,
        current_cost=current_cost,
        base_cost=base_cost,
        total_cost=total_cost,
        lower_bound=lower_bound,
        savings=savings,
        gap=gap,
        certificate=stored.certificate or {},
        exclusions=[Exclusion(reason, counts[code]) for code, reason in EXCLUSION_REASONS.items() if code in counts],
    )


def set_report_uri(conninfo: str, instance_id: int, report_uri: str) -> None:
    """Store the address of an instance's workbook."""
    with transaction(conninfo, application_name="amop write_workbook") as connection:
        store.set_report_uri(connection, instance_id=instance_id, report_uri=report_uri)


def report_uri_of(conninfo: str, instance_id: int) -> str | None:
    """Return the address of an instance's workbook, None if none was written."""
    with transaction(conninfo, application_name="amop mail_report") as connection:
        return load_report(connection, instance_id).stored.report_uri


def set_mailed(conninfo: str, instance_id: int, *, now: datetime) -> None:
    """Record that the report was mailed, so that a repeated task does not mail it again."""
    with transaction(conninfo, application_name="amop mail_report") as connection:
        store.set_mailed(connection, instance_id=instance_id, now=now)
