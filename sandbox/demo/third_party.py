"""Changes that another party makes at a sandbox carrier, for the next sync to find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg

from sandbox.carrier.catalogue import ServiceProvider
from sandbox.http_server import LOOPBACK, request_json
from sandbox.world.world import World

OTHER_EQUIPMENT = "490154203237518"
"""The example of an IMEI in 3GPP TS 23.003."""
UNKNOWN_STATUS = 7

WITH_DETAILS = """
SELECT iccid
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s AND imei IS NOT NULL
ORDER BY details_tried_at, iccid
"""
"""The SIMs whose equipment the warehouse knows; the first ones are those whose details a sync reads again first."""


def change_sims_at_the_carrier(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> None:
    """Put one SIM into other equipment, move one to a plan that it may not have, and give one a malformed status."""
    port = world.ports["carrier"]
    truth = request_json(LOOPBACK, port, "GET", f"/sandbox/truth/{provider.api_user}")
    rows = warehouse.execute(WITH_DETAILS, {"service_provider_id": provider.id}).fetchall()
    for iccid, values in changes_of(truth["devices"], with_details=[row["iccid"] for row in rows]).items():
        body = {"account": provider.api_user, "iccids": [iccid], "set": values}
        request_json(LOOPBACK, port, "POST", "/sandbox/devices", body)


def changes_of(devices: list[dict[str, Any]], *, with_details: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the changes of three activated SIMs by ICCID.

    Args:
        devices: the SIMs at the carrier.
        with_details: ICCIDs of the SIMs whose equipment the warehouse knows; the first activated one moves.

    Raises:
        ValueError: the fleet has too few activated SIMs, or one rate plan only.
    """
    active = sorted((sim for sim in devices if sim["status"] == "ACTIVATED"), key=lambda sim: str(sim["iccid"]))
    plans: defaultdict[str, set[str]] = defaultdict(set)
    for sim in active:
        plans[sim["communication_plan"]].add(sim["rate_plan"])
    by_iccid = {sim["iccid"]: sim for sim in active}
    moved = next((by_iccid[iccid] for iccid in with_details if iccid in by_iccid), None)
    others = [sim for sim in active if sim is not moved]
    for sim in others[:-1]:
        foreign = sorted(set().union(*plans.values()) - plans[sim["communication_plan"]])
        if moved and foreign:
            return {
                moved["iccid"]: {"imei": OTHER_EQUIPMENT},
                sim["iccid"]: {"rate_plan": foreign[-1]},
                others[-1]["iccid"]: {"extra": {"status": UNKNOWN_STATUS}},
            }
    raise ValueError("the fleet has too few activated SIMs, or one rate plan only")
