"""The integrations that this package runs: one frozen dataclass each, in one registry."""

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
