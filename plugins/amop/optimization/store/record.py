"""SQL of a provider's record: how often the interval of its bill came true."""

from __future__ import annotations

from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.optimization.rows import IntervalRecord


@statement("optimization/interval_record")
def interval_record(
    connection: WarehouseConnection, *, service_provider_id: int, ends_after: datetime
) -> IntervalRecord:
    """Return how often the interval of a provider's bill came true in the periods that ended after a moment."""
