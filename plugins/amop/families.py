"""Registry of the carrier API families: what is the same for every integration that speaks one API.

`Integration.family` in `amop.config` names an entry. The client classes are in `amop.carriers.registry`;
docs/carriers.md describes the entries and docs/add-a-carrier.md how one is added.
"""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, dataclass, field
from typing import Any

BINARY_MEGABYTE = 1_048_576
DECIMAL_MEGABYTE = 1_000_000

CONTROL_CENTER = "control_center"


class UnknownFamilyError(LookupError):
    """An integration names a carrier API family that the registry does not have."""


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """What identifies a SIM at the carrier."""

    name: str
    """Name of the identifier in messages, such as ``ICCID``."""
    pattern: str
    """Regular expression of the whole identifier."""
    form: str
    """The pattern in words, for messages."""

    def accepts(self, value: object) -> bool:
        """Return True if the value is text of this form."""
        return isinstance(value, str) and _compiled(self.pattern).fullmatch(value) is not None


_compiled = functools.cache(re.compile)


ICCID = IdentifierRule("ICCID", "[0-9]{18,22}", "18 to 22 digits")
EID = IdentifierRule("EID", "[0-9]{32}", "32 digits")
"""Identifier of an eSIM (GSMA SGP.02): it stays the same when the profile on it, and with it the ICCID, changes."""


@dataclass(frozen=True, slots=True)
class CountRule:
    """Which work rows of a run and provider the clean-up waits for; by default all of them."""

    ignores_deleted: bool = False
    """Rows with ``is_deleted`` are done: the family's sync marks them instead of deleting them."""
    maximum_retries: int | None = None
    """The family's sync has abandoned rows with this ``retry_count``: they are reported, not waited for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The carrier's limits for one account."""

    calls_per_second: float
    page_size: int | None = None
    """SIMs on a page of the device list; None = the carrier decides."""
    changes_per_sim_and_month: int | None = None
    """Plan changes that the carrier accepts for one SIM in a month; None = no such limit."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the family's client can do."""

    bulk_usage: bool = False
    """Usage of all SIMs of a rate plan in pages."""
    writes: bool = False
    """Plan changes."""
    modified_list: bool = False
    """A device list of the SIMs modified since a moment, in order of modification, with their rate plans."""


SIM_FIELDS = frozenset({"status", "rate plan", "communication plan", "date of activation"})
"""Fields of a SIM that a family may give, beside its identifiers."""


@dataclass(frozen=True, slots=True)
class Family:
    """One carrier API."""

    name: str
    display_name: str
    daily_sync_key: str
    """``key_name`` of the daily-sync notice to AMOP."""
    megabyte: int = BINARY_MEGABYTE
    """Bytes of a megabyte in the family's prices and usage."""
    identifier: IdentifierRule = ICCID
    count_rule: CountRule = field(default_factory=CountRule)
    sim_fields: frozenset[str] = SIM_FIELDS
    """Those of `SIM_FIELDS` that the carrier has: where it has none, a SIM without the field has lost nothing."""
    usage_types: tuple[str, ...] = ("DATA",)
    """Counters that the carrier reports: ``DATA``, ``SMS``, ``VOICE``."""
    limits: Limits | None = None
    """None for a family without a client."""
    capabilities: Capabilities = field(default_factory=Capabilities)

    @property
    def has_client(self) -> bool:
        """True if the package can call this API; otherwise it only merges what the existing system has staged."""
        return self.limits is not None


CONTROL_CENTER_LIMITS = Limits(calls_per_second=5.0, page_size=50)
"""Control Center's policy: at most 5 calls in any second and one call at a time for each API user."""

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            CONTROL_CENTER,
            "Cisco Control Center (Jasper)",
            "jasper_devices",
            usage_types=("DATA", "SMS", "VOICE"),
            limits=CONTROL_CENTER_LIMITS,
            capabilities=Capabilities(bulk_usage=True, writes=True, modified_list=True),
        ),
        Family(
            "thingspace",
            "Verizon ThingSpace",
            "thingspace_devices",
            sim_fields=SIM_FIELDS - {"communication plan"},
            usage_types=("DATA", "SMS"),
            limits=Limits(calls_per_second=5.0, changes_per_sim_and_month=4),
        ),
        Family(
            "teal",
            "Teal",
            "teal_devices",
            megabyte=DECIMAL_MEGABYTE,
            identifier=EID,
            sim_fields=SIM_FIELDS - {"communication plan", "date of activation"},
            count_rule=CountRule(maximum_retries=5),
            limits=Limits(calls_per_second=16.0, page_size=100),
        ),
        Family("pond", "Pond", "pond_inventories", count_rule=CountRule(ignores_deleted=True)),
        Family(
            "telegence",
            "AT&T Telegence",
            "telegence_devices",
            count_rule=CountRule(ignores_deleted=True, maximum_retries=5),
            usage_types=("DATA", "SMS", "VOICE"),
        ),
        Family(
            "ebonding",
            "AT&T eBonding",
            "ebonding_devices",
            count_rule=CountRule(ignores_deleted=True),
            usage_types=("DATA", "SMS", "VOICE"),
        ),
    )
}
"""Every family by name."""


def family_of(name: str, *, used_by: str) -> Family:
    """Return a family by name.

    Args:
        name: the family's name.
        used_by: what names it, for the message.

    Raises:
        UnknownFamilyError: the registry has no such family.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise UnknownFamilyError(
            f"{used_by} names the carrier API family {name!r}, which amop.families does not have; known: "
            f"{', '.join(sorted(FAMILIES))}. See docs/add-a-carrier.md"
        ) from None


def monthly_change_limits() -> dict[str, int]:
    """Return the plan changes that a carrier accepts for one SIM in a month, of the families with such a limit."""
    return {
        name: family.limits.changes_per_sim_and_month
        for name, family in FAMILIES.items()
        if family.limits is not None and family.limits.changes_per_sim_and_month is not None
    }


def identifier_rules() -> dict[str, dict[str, str]]:
    """Return the identifier rules by family, as the statement that checks a staging takes them."""
    return {name: asdict(family.identifier) for name, family in FAMILIES.items()}


def count_rules() -> dict[str, dict[str, Any]]:
    """Return the count rules by family, as the statement that counts work rows takes them."""
    return {
        name: {
            "ignores_deleted": family.count_rule.ignores_deleted,
            "maximum_retries": family.count_rule.maximum_retries,
        }
        for name, family in FAMILIES.items()
    }
