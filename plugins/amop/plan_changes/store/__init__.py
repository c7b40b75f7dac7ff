"""SQL of plan changes, one module per kind; no other module of the subject contains SQL."""

from amop.plan_changes.store import decisions, sending

__all__ = ["decisions", "sending"]
