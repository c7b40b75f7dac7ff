"""The integrations that this package runs, and how long it keeps what: frozen dataclasses, one registry of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Integration:
    """A carrier API family as AMOP names it; the row of the same name in ``amop.integration``."""

    name: str
    """Key in DAG ids and in ``integration.name``."""
    display_name: str
    """What people read."""
    family: str
    """Which client speaks to it; ``control_center`` is Cisco Control Center (Jasper) REST."""
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
class Age:
    """How long something is kept."""

    days: int
    minimum_days: int
    """Less would take away what a run, a session or a report may still need."""
    what: str
    """What is kept and from when the days count."""


RETENTION: dict[str, Age] = {
    "staging_days": Age(7, 1, "Staging of a sync run after its end. A failed run can go on only as long as it has it."),
    "ledger_days": Age(35, 1, "Pages and work rows of a sync run after its end; at least as long as its staging."),
    "run_days": Age(400, 35, "Sync runs after their end. A provider's latest complete run and full list always stay."),
    "sent_message_days": Age(30, 1, "Messages to AMOP after it took them. Messages that wait always stay."),
    "dead_message_days": Age(180, 7, "Messages that AMOP refused for good, after they were written."),
    "resolved_quarantine_days": Age(30, 1, "Quarantined records after they were resolved."),
    "open_quarantine_days": Age(180, 7, "Quarantined records that nobody resolved, after they were set aside."),
    "optimization_device_days": Age(
        93, 62, "Inputs and results of single SIMs of an optimization, after its billing period's end. Its bills stay."
    ),
    "archive_days": Age(400, 35, "The carrier's answers in the archive, after the day of their run."),
    "history_days": Age(800, 93, "Daily usage after its billing period's end; what SIMs were before that day."),
}
"""What `maintenance` deletes, by the name of its parameter; the only place that says how old."""
