"""SQL of maintenance, in five parts; no other module of the subject contains SQL."""

from amop.maintenance.store import gauges, known_ids, retention, status, watchdog

__all__ = ["gauges", "known_ids", "retention", "status", "watchdog"]
