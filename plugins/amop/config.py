"""Registry of the integrations, and of the retention periods of its data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from amop.families import BINARY_MEGABYTE, CONTROL_CENTER, Family, family_of

MOBILITY = 2
"""AMOP's portal of phones; 0 is the portal of IoT devices (M2M)."""


@dataclass(frozen=True, slots=True)
class Integration:
    """A carrier as AMOP names it; the row of the same name in ``amop.integration``."""

    name: str
    """Key in DAG ids and in ``integration.name``."""
    display_name: str
    """Name shown to users."""
    family: str
    """Name of the API family in `amop.families`, which selects client, limits and rules."""
    portal_type_id: int
    """AMOP portal: 0 = M2M, 2 = Mobility."""
    supports_optimization: bool
    """True when ``carrier_optimization_<name>`` exists."""
    schedule: str
    """Cron expression of the daily sync, UTC; empty for a family without a client, which has no DAG of its own."""

    def __post_init__(self) -> None:
        """Check the integration while the DAG files are parsed.

        Raises:
            UnknownFamilyError: the registry does not have it.
            ValueError: the integration is to be optimized, and its megabyte is not that of the bill.
        """
        megabyte = self.api.megabyte
        if self.supports_optimization and megabyte != BINARY_MEGABYTE:
            raise ValueError(
                f"integration {self.name}: family {self.family} has megabytes of {megabyte} bytes; forecast and "
                f"bill compute with {BINARY_MEGABYTE}"
            )

    @property
    def api(self) -> Family:
        """The registry's entry of the family."""
        return family_of(self.family, used_by=f"integration {self.name}")

    @property
    def daily_sync_key(self) -> str:
        """``key_name`` of the daily-sync notice."""
        return self.api.daily_sync_key


KNOWN_INTEGRATIONS: dict[str, Integration] = {
    integration.name: integration
    for integration in (
        Integration("jasper", "AT&T Control Center (Jasper)", CONTROL_CENTER, 0, True, "0 4 * * *"),
        Integration("pod19", "AT&T Control Center POD19", CONTROL_CENTER, 0, True, "15 4 * * *"),
        Integration("tmobile_jasper", "T-Mobile Control Center", CONTROL_CENTER, 0, True, "30 4 * * *"),
        Integration("rogers", "Rogers Control Center", CONTROL_CENTER, 0, True, "45 4 * * *"),
        Integration("thingspace", "Verizon ThingSpace", "thingspace", 0, False, "0 5 * * *"),
        Integration("teal", "Teal", "teal", 0, False, "15 5 * * *"),
        Integration("pond", "Pond", "pond", 0, False, ""),
        Integration("telegence", "AT&T Telegence", "telegence", 2, False, ""),
        Integration("ebonding", "AT&T eBonding", "ebonding", 2, False, ""),
    )
}
"""Every integration that may be in the reference file, by name."""

INTEGRATIONS: dict[str, Integration] = {
    name: integration for name, integration in KNOWN_INTEGRATIONS.items() if integration.api.has_client
}
"""The integrations that this package syncs: those whose family has a client. Each has its DAGs."""


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

MISSED_START = timedelta(0)
"""A daily DAG that is unpaused this long after its time still starts. Airflow's own default is a tenth of the day."""
