"""The carrier's answers as they came, kept in the warehouse from their staging until the archive has them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from amop.domain.carrier_page import CarrierPage
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

COMPRESSION_LEVEL = 6
PAGES_PER_FETCH = 500


def keep_page(connection: WarehouseConnection, run_id: int, page: CarrierPage) -> None:
    """Keep an answer in the caller's transaction, which stages it: both or neither."""
    document = json.dumps(page.document, separators=(",", ":")).encode()
    connection.execute(
        sql.load("archive/add_page"),
        {
            "run_id": run_id,
            "kind": page.kind,
            "scan_pass": page.scan_pass,
            "rate_plan_code": page.rate_plan_code,
            "rate_plan_version": page.rate_plan_version,
            "usage_type": page.usage_type,
            "iccid": page.iccid,
            "page_number": page.page_number,
            "is_refusal": page.is_refusal,
            "now": page.received_at,
            "document": gzip.compress(document, COMPRESSION_LEVEL, mtime=0),
        },
    )


def kept_pages(connection: WarehouseConnection, run_id: int) -> Iterator[CarrierPage]:
    """Yield the answers of a run in order, a few hundred in memory at a time, in the caller's transaction."""
    with connection.cursor(name="carrier_pages") as cursor:
        cursor.itersize = PAGES_PER_FETCH
        cursor.execute(sql.load("archive/pages_of_run"), {"run_id": run_id})
        for row in cursor:
            yield CarrierPage(**row | {"document": json.loads(gzip.decompress(row["document"]))})
