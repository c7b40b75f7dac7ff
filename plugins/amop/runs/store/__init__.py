"""SQL of sync runs and optimization sessions; no other module of the subject contains SQL."""

from amop.runs.store import sessions, sync_runs

__all__ = ["sessions", "sync_runs"]
