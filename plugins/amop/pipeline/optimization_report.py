"""What the report of an optimization is made of, and what is noted of it: where its workbook is, that it was mailed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from amop.domain.left_out import LEFT_OUT_REASONS
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_runs import InstanceEndedError
from amop.warehouse import optimization_instances as instances
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, transaction

Facts = dict[str, Any]
"""A row of ``reports/optimization_facts``, and ``left_out``: how many SIMs for which reason, in words."""


def report_facts(connection: WarehouseConnection, instance_id: int) -> Facts:
    """Return what the report says about the whole.

    Raises:
        InstanceEndedError: the instance ended with errors.
        PipelineError: it does not exist, its results are not written, or those of its SIMs are no longer kept.
    """
    facts = connection.execute(sql.load("reports/optimization_facts"), {"instance_id": instance_id}).fetchone()
    if facts is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    whose = f"{facts['service_provider_name']} ({facts['service_provider_id']}): instance {instance_id}"
    if facts["run_status"] == "complete_with_errors":
        raise InstanceEndedError(f"{whose} ended with errors, it has no report: {facts['error']}")
    if facts["savings"] is None:
        raise PipelineError(f"{whose} has no results; run write_results first")
    if facts["devices_removed_at"] is not None:
        raise PipelineError(
            f"{whose}: its SIMs were removed by maintenance on {facts['devices_removed_at']:%Y-%m-%d}, no report can "
            f"be made any more; the one that was made is {facts['report_uri'] or '(none)'}"
        )
    counts = instances.rows(connection, "left_out_counts", instance_id=instance_id)
    known = {row["reason"]: row["device_count"] for row in counts}
    return facts | {
        "left_out": [
            {"device_count": known[code], "words": reason.words, "is_expected": reason.is_expected}
            for code, reason in LEFT_OUT_REASONS.items()
            if code in known
        ]
    }


def workbook_key(facts: Facts) -> str:
    """Return the object key of an instance's workbook: no two providers, sessions or integrations share one."""
    return (
        f"carrier_optimization/{facts['integration']}/{facts['service_provider_id']}/"
        f"{facts['bill_year']}-{facts['bill_month']:02}/optimization_{facts['session_id']}.xlsx"
    )


def local_time(facts: Facts, moment: datetime | None) -> str:
    """Return a moment in the provider's time zone, to the minute; ``unknown`` for none."""
    if moment is None:
        return "unknown"
    return f"{moment.astimezone(ZoneInfo(facts['time_zone'])):%Y-%m-%d %H:%M} {facts['time_zone']}"


def note_workbook(conninfo: str, instance_id: int, report_uri: str) -> None:
    """Note where the workbook of an instance is."""
    with transaction(conninfo, application_name="amop write_workbook") as connection:
        values = {"instance_id": instance_id, "report_uri": report_uri}
        connection.execute(sql.load("reports/note_workbook"), values)


def note_mailed(conninfo: str, instance_id: int, *, now: datetime) -> None:
    """Note that the report was mailed, so that a repeated task does not mail it again."""
    with transaction(conninfo, application_name="amop mail_report") as connection:
        connection.execute(sql.load("reports/note_mailed"), {"instance_id": instance_id, "now": now})


def warn(conninfo: str, instance_id: int, text: str) -> None:
    """Add a warning to those of an instance, once."""
    with transaction(conninfo, application_name="amop warn") as connection:
        instances.execute(connection, "add_warning", instance_id=instance_id, warning=text)


def report_uri_of(conninfo: str, instance_id: int) -> str | None:
    """Return where the workbook of an instance is, None where none was written."""
    with transaction(conninfo, application_name="amop mail_report") as connection:
        uri = report_facts(connection, instance_id)["report_uri"]
    return None if uri is None else str(uri)
