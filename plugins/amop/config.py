"""Registry of the integrations that this package runs, and of the retention periods of its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Integration:
    """A carrier API family as AMOP names it; the row of the same name in ``amop.integration``."""

    name: str
    """Key in DAG ids and in ``integration.name``."""
    display_name: str
    """Name shown to users."""
    family: str
    """API family, which selects the client; ``control_center`` is Cisco Control Center (Jasper) REST."""
    portal_type_id: int
    """AMOP portal: 0 = M2M, 2 = Mobility."""
    daily_sync_key: str
    """``key_name`` of the daily-sync notice."""
    supports_optimization: bool
    """True when ``carrier_optimization_<name>`` exists."""
    schedule: str
    """Cron expression of the daily sync, UTC."""


INTEGRATIONS: dict[str, Integration] = {
    integration.name: integration
    for integration in (
        Integration("jasper", "AT&T Control Center (Jasper)", "control_center", 0, "jasper_devices", True, "0 4 * * *"),
        Integration("pod19", "AT&T Control Center POD19", "control_center", 0, "jasper_devices", True, "15 4 * * *"),
        Integration(
            "tmobile_jasper",
            "T-Mobile Control Center",
            "control_center",
            0,
            "jasper_devices",
            True,
            "30 4 * * *",
        ),
        Integration("rogers", "Rogers Control Center", "control_center", 0, "jasper_devices", True, "45 4 * * *"),
    )
}
"""Every integration by name."""


@dataclass(frozen=True, slots=True)
class RetentionPeriod:
    """How long rows or objects are kept."""

    days: int
    minimum_days: int
    """A shorter period would delete data that a run, a session or a report may still need."""
    description: str
    """What is kept, and from when the days count."""


RETENTION: dict[str, RetentionPeriod] = {
    "staging_days": RetentionPeriod(
        7, 1, "Staging of a sync run, after its end. A failed run can be resumed only while it has its staging."
    ),
    "ledger_days": RetentionPeriod(
        35, 1, "Pages and work rows of a sync run, after its end; at least as long as its staging."
    ),
    "run_days": RetentionPeriod(
        400, 35, "Sync runs, after their end. A provider's latest complete run and full list are always kept."
    ),
    "sent_message_days": RetentionPeriod(
        30, 1, "Messages to AMOP, after their delivery. Pending messages are always kept."
    ),
    "dead_message_days": RetentionPeriod(
        180, 7, "Messages that AMOP refused and notifications of operators, after they were written."
    ),
    "resolved_quarantine_days": RetentionPeriod(30, 1, "Resolved quarantined records, after they were resolved."),
    "open_quarantine_days": RetentionPeriod(180, 7, "Unresolved quarantined records, after they were quarantined."),
    "optimization_device_days": RetentionPeriod(
        93,
        62,
        "Inputs and results per SIM of an optimization, after the end of its billing period. Its bills are kept.",
    ),
    "archive_days": RetentionPeriod(400, 35, "The carrier's responses in the archive, after the day of their run."),
    "history_days": RetentionPeriod(
        800, 93, "Daily usage, after the end of its billing period, and device history before that day."
    ),
}
"""Retention periods by the name of the parameter of DAG ``maintenance``; defined only here."""
