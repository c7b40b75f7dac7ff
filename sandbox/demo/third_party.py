"""Changes that another party makes at a sandbox carrier, for the next sync to find."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sandbox.carrier.catalogue import ServiceProvider
from sandbox.http_server import LOOPBACK, request_json
from sandbox.world.world import World

OTHER_EQUIPMENT = "490154203237518"
"""The example of an IMEI in 3GPP TS 23.003."""
UNKNOWN_STATUS = 7


def change_sims_at_the_carrier(world: World, provider: ServiceProvider) -> None:
    """Put one SIM into other equipment, move one to another rate plan, and let one have a status that is no text."""
    port = world.ports["carrier"]
    truth = request_json(LOOPBACK, port, "GET", f"/sandbox/truth/{provider.api_user}")
    moved, other_plan, malformed = three_sims(truth["devices"])
    for iccid, values in (
        (moved["iccid"], {"imei": OTHER_EQUIPMENT}),
        (other_plan["iccid"], {"rate_plan": other_plan["other_rate_plan"]}),
        (malformed["iccid"], {"extra": {"status": UNKNOWN_STATUS}}),
    ):
        body = {"account": provider.api_user, "iccids": [iccid], "set": values}
        request_json(LOOPBACK, port, "POST", "/sandbox/devices", body)


def three_sims(devices: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return three activated SIMs; the second one with another rate plan of its communication plan.

    Raises:
        ValueError: there are too few activated SIMs, or they are all on one plan.
    """
    active = sorted((sim for sim in devices if sim["status"] == "ACTIVATED"), key=lambda sim: str(sim["iccid"]))
    plans: defaultdict[str, set[str]] = defaultdict(set)
    for sim in active:
        plans[sim["communication_plan"]].add(sim["rate_plan"])
    for sim in active:
        others = sorted(plans[sim["communication_plan"]] - {sim["rate_plan"]})
        if others:
            first, last = [other for other in (active[0], active[-1], active[1]) if other is not sim][:2]
            return first, sim | {"other_rate_plan": others[-1]}, last
    raise ValueError("no activated SIM has another rate plan in its communication plan")
