"""SQL of the device sync, in five parts; no other module of the subject contains SQL."""

from amop.device_sync.store import merges, plausibility, reads, records, reports

__all__ = ["merges", "plausibility", "reads", "records", "reports"]
