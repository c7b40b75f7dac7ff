"""SQL of optimizations, one module per kind; no other module of the subject contains SQL."""

from amop.optimization.store import changes, comm_groups, instances, record, results, sims

__all__ = ["changes", "comm_groups", "instances", "record", "results", "sims"]
