"""Bill plan changes from the day on which they are made: the period of a SIM in parts, one for each of its plans.

A part is billed for its days: charge and included data are prorated by them, and its own usage is compared with its own
included data. A base rate is never prorated: it is due once for each part.

`with_parts` makes a row for each part. The row of a SIM is its last part, from the day of a change to the period's end.
What came before it cannot be changed any more: these rows are a comm group that keeps its plan, in the SIM's pools. On
its current plan a SIM has no change: its last part then costs what makes both parts together cost as much as one.
`CostModel` needs no more for that than one row of its tables for SIMs of the same days and plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from amop.solver.bill import CostModel, Parts, Terms
from amop.solver.model import NONE, Devices, Eligibility, Flags, Integers, RatePlans, largest, rank_in_run


@dataclass(frozen=True, slots=True)
class LeftPlans:
    """Plans that SIMs were on earlier in the period; every array has length M."""

    sim: Integers
    """Row of the SIM in `Devices`."""
    rate_plan: Integers
    """Index of the rate plan."""
    days: Integers
    """Days of the period on it, at least 1."""
    usage_micro_mb: Integers
    sms_usage: Integers

    @classmethod
    def none(cls) -> LeftPlans:
        """Return no plans."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    def within(self, devices: Devices) -> LeftPlans:
        """Return the same plans with no more usage than the SIMs have: in their order as far as it goes."""
        usage, sms = (
            _as_far_as_it_goes(self.sim, used, most)
            for used, most in ((self.usage_micro_mb, devices.usage_micro_mb), (self.sms_usage, devices.sms_usage))
        )
        return replace(self, usage_micro_mb=usage, sms_usage=sms)


@dataclass(frozen=True, slots=True)
class MidCycle:
    """The part of the period that a change of each SIM can no longer affect; arrays of SIMs have length N."""

    days_before: Integers
    """Days on the current plan before the change would count; 0 where it would count for all of them."""
    usage_before: Integers
    """1e-6 MB on the current plan in these days."""
    sms_before: Integers
    """Messages on the current plan in these days."""
    left: LeftPlans
    """Plans that SIMs were on before their current one."""


@dataclass(frozen=True, slots=True)
class PartedFleet:
    """A fleet with a row for each part of a SIM's period: first the last parts of the N SIMs, then all others."""

    devices: Devices
    eligibility: Eligibility
    parts: Parts | None
    """None where every row is a whole SIM."""
    sim: Integers
    """Number of the SIM of each row, shape (rows,)."""
    sim_count: int

    @classmethod
    def whole(cls, devices: Devices, eligibility: Eligibility) -> PartedFleet:
        """Return a fleet in which every SIM is billed for one part."""
        return cls(devices, eligibility, None, np.arange(len(devices)), len(devices))

    def model(self, rate_plans: RatePlans, terms: Terms) -> CostModel:
        """Return the cost model of the rows."""
        return CostModel(self.devices, rate_plans, self.eligibility, terms, self.parts)

    def of_rows(self, assignment: Integers) -> Integers:
        """Return the plan of each row for an assignment of the SIMs, shape (rows,)."""
        return np.concatenate((assignment, self.devices.current_rate_plan[self.sim_count :]))

    def of_sims(self, assignment: Integers) -> Integers:
        """Return the plan of each SIM of an assignment of the rows, shape (N,)."""
        return assignment[: self.sim_count]

    def costs_of_sims(self, costs: Integers) -> Integers:
        """Return the sum of the costs of each SIM's rows, shape (N,)."""
        total = costs[: self.sim_count].copy()
        np.add.at(total, self.sim[self.sim_count :], costs[self.sim_count :])
        return total


def mid_cycle_of(
    devices: Devices,
    left: LeftPlans,
    *,
    terms: Terms,
    days_left: Integers,
    usage_before: Integers,
    sms_before: Integers,
) -> MidCycle:
    """Return what came before the day of a change of each SIM.

    Args:
        devices: N SIMs with their usage of the whole period.
        left: plans that they were on before their current ones.
        terms: how the provider bills.
        days_left: days of the period from the change on, shape (N,); 0 where no change counts any more.
        usage_before: usage of the period before the change, that on plans they left included, shape (N,), 1e-6 MB.
        sms_before: messages of the period before the change, the same, shape (N,).
    """
    left_days, left_usage, left_sms = _left_sums(left, len(devices))
    on_current = _billed_days(devices, terms) - left_days
    return MidCycle(
        days_before=np.where(days_left > 0, np.maximum(0, on_current - days_left), 0),
        usage_before=np.clip(usage_before, left_usage, devices.usage_micro_mb) - left_usage,
        sms_before=np.clip(sms_before, left_sms, devices.sms_usage) - left_sms,
        left=left,
    )


def parts_to_choose(devices: Devices, eligibility: Eligibility, terms: Terms, mid_cycle: MidCycle) -> PartedFleet:
    """Return the fleet in which each SIM that may change has its last part, from the day of a change, to be placed.

    Args:
        devices: N SIMs with their usage of the whole period.
        eligibility: which plans each SIM may have.
        terms: how the provider bills.
        mid_cycle: what came before the day of a change.
    """
    may_change = eligibility.allowed.sum(axis=1)[devices.communication_plan] > 1
    current = devices.current_rate_plan
    may_change |= ~eligibility.allowed[devices.communication_plan, np.maximum(current, 0)]
    return _with_parts(devices, eligibility, terms, mid_cycle, may_change, is_chosen=False)


def parts_as_chosen(
    devices: Devices, eligibility: Eligibility, terms: Terms, mid_cycle: MidCycle, assignment: Integers
) -> PartedFleet:
    """Return the fleet in which only the SIMs that an assignment changes have two parts: what the carrier bills.

    Args:
        devices: N SIMs with their usage of the whole period.
        eligibility: which plans each SIM may have.
        terms: how the provider bills.
        mid_cycle: what came before the day of a change.
        assignment: plan of each SIM, shape (N,), -1 for a SIM that is not billed.
    """
    changes = (assignment != devices.current_rate_plan) & (assignment != NONE)
    return _with_parts(devices, eligibility, terms, mid_cycle, changes, is_chosen=True)


def _with_parts(
    devices: Devices, eligibility: Eligibility, terms: Terms, mid_cycle: MidCycle, splits: Flags, *, is_chosen: bool
) -> PartedFleet:
    count, left, current = len(devices), mid_cycle.left, devices.current_rate_plan
    splits = splits & (mid_cycle.days_before > 0) & (current != NONE)
    left_days, left_usage, left_sms = _left_sums(left, count)
    has_left, billed = left_days > 0, _billed_days(devices, terms)
    before = np.where(splits, mid_cycle.days_before, 0)
    usage_before = np.where(splits, mid_cycle.usage_before, 0)
    cut = np.flatnonzero(splits)
    sim = np.concatenate((np.arange(count), cut, left.sim))
    kept_plan = np.concatenate((current[cut], left.rate_plan))
    choice, parted_eligibility = _with_kept_plans(eligibility, devices.communication_plan[sim[count:]], kept_plan)
    nothing = np.zeros(len(sim) - count, dtype=np.int64)
    parted = Devices(
        device_id=_unique_ids(devices.device_id, sim, count),
        communication_plan=np.concatenate((devices.communication_plan, choice)),
        usage_micro_mb=np.concatenate(
            (devices.usage_micro_mb - left_usage - usage_before, usage_before[cut], left.usage_micro_mb)
        ),
        sms_usage=np.concatenate(
            (
                devices.sms_usage - left_sms - np.where(splits, mid_cycle.sms_before, 0),
                mid_cycle.sms_before[cut],
                left.sms_usage,
            )
        ),
        days_active=np.concatenate((devices.days_active, nothing + terms.period_days)),
        is_prorated=np.concatenate((devices.is_prorated, nothing != 0)),
        current_rate_plan=np.concatenate((current, kept_plan)),
    )
    parts = Parts(
        days=np.concatenate((np.where(splits | has_left, billed - left_days - before, 0), before[cut], left.days)),
        days_before=np.concatenate((before * (not is_chosen), nothing)),
        usage_before=np.concatenate((usage_before * (not is_chosen), nothing)),
        has_left=np.concatenate((has_left, nothing != 0)),
    )
    return PartedFleet(parted, parted_eligibility, parts, sim, count)


def _with_kept_plans(eligibility: Eligibility, choice: Integers, plan: Integers) -> tuple[Integers, Eligibility]:
    """Return rows of the eligibility that allow one plan only, in the pools of other rows.

    Args:
        eligibility: the rows of the SIMs.
        choice: the row whose pools each of the others shares, shape (m,).
        plan: the plan that each of them keeps, shape (m,).

    Returns:
        The new row of each of them, shape (m,), and the eligibility with these rows.
    """
    plans, groups = eligibility.allowed.shape[1], largest(eligibility.comm_group + 1)
    sharing = eligibility.pool_groups()[eligibility.comm_group[choice]]
    kinds, kind = np.unique(sharing * plans + plan, return_inverse=True)
    keeps = np.zeros(groups, dtype=np.bool_) if eligibility.keeps_plan is None else eligibility.keeps_plan
    return len(eligibility.allowed) + kind.reshape(-1), Eligibility(
        allowed=np.concatenate((eligibility.allowed, np.eye(plans, dtype=np.bool_)[kinds % plans])),
        comm_group=np.concatenate((eligibility.comm_group, groups + np.arange(len(kinds)))),
        pool_group=np.concatenate((eligibility.pool_groups(), kinds // plans)),
        keeps_plan=np.concatenate((keeps, np.ones(len(kinds), dtype=np.bool_))),
    )


def _unique_ids(ids: np.typing.NDArray[np.str_], sim: Integers, count: int) -> np.typing.NDArray[np.str_]:
    """Return the id of each row: that of its SIM, with a number after it for the parts before the last one."""
    others = sim[count:]
    order = np.argsort(others, kind="stable")
    number = np.empty(len(others), dtype=np.int64)
    number[order] = rank_in_run(others[order])
    suffixes = np.char.add(" part ", (number + 1).astype(np.str_)) if len(others) else np.zeros(0, dtype="U1")
    return np.concatenate((ids, np.char.add(ids[others], suffixes)))


def _as_far_as_it_goes(sim: Integers, used: Integers, most: Integers) -> Integers:
    """Return the usage of each part, shape (M,), cut where a SIM's parts together have more than it has at most."""
    rest, cut = most.copy(), used.copy()
    for part, number in enumerate(sim.tolist()):
        cut[part] = min(int(used[part]), int(rest[number]))
        rest[number] -= cut[part]
    return cut


def _billed_days(devices: Devices, terms: Terms) -> Integers:
    return np.where(devices.is_prorated & terms.uses_proration, devices.days_active, terms.period_days)


def _left_sums(left: LeftPlans, count: int) -> tuple[Integers, Integers, Integers]:
    """Return days, usage (1e-6 MB) and messages of each SIM on plans that it left, each of shape (N,)."""
    sums = []
    for values in (left.days, left.usage_micro_mb, left.sms_usage):
        total = np.zeros(count, dtype=np.int64)
        np.add.at(total, left.sim, values)
        sums.append(total)
    return sums[0], sums[1], sums[2]
