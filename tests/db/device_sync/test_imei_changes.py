"""Equipment that a SIM was moved to, as the details of a sync show it."""

from __future__ import annotations

import pytest

from amop.database.connection import transaction
from amop.device_sync.store import merges
from tests.worlds.optimization_world import NOW, OptimizationWorld

OLD, NEW = "356938035643809", "490154203237518"


@pytest.mark.parametrize(
    ("before", "read", "recorded"),
    [
        (OLD, NEW, [(OLD, NEW)]),
        (OLD, OLD, []),
        (OLD, f"{OLD[:14]}01", []),  # the same equipment with the version of its software
        (None, NEW, []),  # read for the first time
        (OLD, None, []),
    ],
)
def test_other_equipment_is_recorded_once(
    before: str | None, read: str | None, recorded: list[tuple[str, str]], warehouse_dsn: str
) -> None:
    world = OptimizationWorld(warehouse_dsn)
    sim = world.add_sim("8901", None, None, imei=before)
    run_id = world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="device_sync_jasper",
        dag_run_id="today",
        billing_period_id=world.billing_period_id,
        is_full=True,
    )
    world.execute(
        "INSERT INTO amop.device_detail_staging (run_id, iccid, imei, received_at) VALUES (%s, '8901', %s, %s)",
        run_id,
        read,
        NOW,
    )
    for _ in range(2):  # the second time as a retry would
        with transaction(warehouse_dsn) as connection:
            merges.record_imei_changes(connection, run_id=run_id, service_provider_id=1, now=NOW)
            merges.merge_details(connection, run_id=run_id, service_provider_id=1, now=NOW)
    rows = world.execute("SELECT * FROM amop.device_imei_change")
    assert [(row["device_id"], row["from_imei"], row["to_imei"]) for row in rows] == [
        (sim, *change) for change in recorded
    ]
    assert world.execute("SELECT imei FROM amop.device")[0]["imei"] == (read or before)
