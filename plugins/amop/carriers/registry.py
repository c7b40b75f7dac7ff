"""Registry of the client classes: family of carrier APIs → client.

The rest of a family's entry, which needs no HTTP, is in `amop.families`.
"""

from __future__ import annotations

from collections.abc import Callable

from amop.carriers.account import CarrierAccount
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierConnectionError
from amop.carriers.http_client import CallGate
from amop.carriers.protocol import CarrierClient
from amop.carriers.teal import TealClient
from amop.carriers.thingspace import ThingSpaceClient
from amop.families import CONTROL_CENTER, family_of

CLIENTS: dict[str, Callable[..., CarrierClient]] = {
    CONTROL_CENTER: ControlCenterClient,
    "thingspace": ThingSpaceClient,
    "teal": TealClient,
}
"""Family → its client class, called with account, gate and ``may_write``."""


def client_of(family_name: str, account: CarrierAccount, gate: CallGate, *, may_write: bool = False) -> CarrierClient:
    """Return a client of an account, of the class that its family has.

    Args:
        family_name: key in `amop.families.FAMILIES`.
        account: the API user.
        gate: the rate limit, shared by all processes.
        may_write: False refuses every write before it is sent; so does a family whose client cannot write.

    Raises:
        UnknownFamilyError: the registry has no such family.
        CarrierConnectionError: the family has no client.
    """
    family = family_of(family_name, used_by=account.label)
    if family_name not in CLIENTS:
        raise CarrierConnectionError(
            f"{account.label}: this package has no client of {family.display_name} ({family_name}); it only merges "
            "what the existing system has staged. See docs/add-a-carrier.md"
        )
    return CLIENTS[family_name](account, gate, may_write=may_write and family.capabilities.writes)
