"""SQL of the operators' page, one module per view; all of it reads only."""

from amop.page.store import findings, queues, savings, sessions, sims, today

__all__ = ["findings", "queues", "savings", "sessions", "sims", "today"]
