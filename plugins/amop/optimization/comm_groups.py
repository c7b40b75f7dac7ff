"""Comm groups: the communication plans that allow the same set of rate plans, and the outcome of each group."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

INVALID_RATE_PLANS = "One or more Rate Plans have invalid Data per Overage Charge or Overage Rate"
"""ErrorMessage to AMOP, word for word, if a rate plan cannot be billed."""

NOTHING_TO_OPTIMIZE = "No Comm Groups and/or Rate Plans for this Instance"
"""ErrorMessage to AMOP, word for word, if no communication plan allows any rate plan."""

OPTIMIZED = "optimized"
BASE_ONLY = "base_only"
NO_PLANS = "no_plans"
NO_DEVICES = "no_devices"
LIMIT_EXCEEDED = "limit_exceeded"
INVALID_PLAN = "invalid_plan"

PLACED = (OPTIMIZED, BASE_ONLY)
"""Outcomes of the groups whose SIMs are placed on a plan and counted in every total."""


@dataclass(frozen=True, slots=True)
class CommunicationPlan:
    """A communication plan of a provider."""

    name: str
    """As the carrier spells it; empty for SIMs without one."""
    rate_plan_ids: Sequence[int]
    """The rate plans that it allows and that are not retired, in any order."""
    device_count: int
    """Eligible SIMs on it."""


@dataclass(frozen=True, slots=True)
class CommGroup:
    """Communication plans that allow the same set of rate plans."""

    group_key: str
    """The same for the same set of rate plans, whatever the order; ``no_plans`` for the empty set."""
    rate_plan_ids: tuple[int, ...]
    """Ascending."""
    communication_plans: tuple[str, ...]
    """In alphabetical order."""
    device_count: int


def group_key(rate_plan_ids: Collection[int]) -> str:
    """Return the key of a set of rate plans: a digest, because a set may be longer than an index entry."""
    if not rate_plan_ids:
        return NO_PLANS
    text = ",".join(str(rate_plan_id) for rate_plan_id in sorted(set(rate_plan_ids)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group_communication_plans(plans: Iterable[CommunicationPlan]) -> list[CommGroup]:
    """Return the comm groups of a provider in the order of their keys.

    Retired rate plans are never assigned, so communication plans that differ only in retired ones share a group.
    """
    by_set: dict[frozenset[int], list[CommunicationPlan]] = {}
    for plan in plans:
        by_set.setdefault(frozenset(plan.rate_plan_ids), []).append(plan)
    groups = [
        CommGroup(
            group_key=group_key(rate_plan_ids),
            rate_plan_ids=tuple(sorted(rate_plan_ids)),
            communication_plans=tuple(sorted(member.name for member in members)),
            device_count=sum(member.device_count for member in members),
        )
        for rate_plan_ids, members in by_set.items()
    ]
    return sorted(groups, key=lambda group: group.group_key)


def outcome_of(
    rate_plan_ids: Collection[int],
    *,
    device_count: int,
    rate_plan_limit: int | None,
    invalid_rate_plan_ids: Collection[int],
) -> str:
    """Return the outcome of a comm group.

    Args:
        rate_plan_ids: the plans that it allows.
        device_count: its eligible SIMs.
        rate_plan_limit: the largest number of rate plans of a group; None = no limit.
        invalid_rate_plan_ids: plans whose overage rate or overage block is not above 0.

    Returns:
        ``no_plans``, ``invalid_plan``, ``limit_exceeded``, ``no_devices``, ``base_only`` (one plan: nothing to
        choose) or ``optimized``; the first that applies, in this order.
    """
    if not rate_plan_ids:
        return NO_PLANS
    if set(rate_plan_ids) & set(invalid_rate_plan_ids):
        return INVALID_PLAN
    if rate_plan_limit is not None and len(rate_plan_ids) > rate_plan_limit:
        return LIMIT_EXCEEDED
    if device_count == 0:
        return NO_DEVICES
    return BASE_ONLY if len(rate_plan_ids) == 1 else OPTIMIZED
