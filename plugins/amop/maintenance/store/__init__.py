"""SQL of maintenance, in four parts; no other module of the subject contains SQL."""

from amop.maintenance.store import gauges, retention, status, watchdog

__all__ = ["gauges", "retention", "status", "watchdog"]
