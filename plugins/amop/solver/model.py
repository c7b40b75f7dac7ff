"""The optimizer's input as integer arrays: money in 1e-6 of the currency, data in 1e-6 MB.

Integers make every sum exact and independent of its order. `micro` and `from_micro` convert from and to decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Indices = npt.NDArray[np.signedinteger[Any]]
Flags = npt.NDArray[np.bool_]

MICRO = 1_000_000
"""Number of 1e-6 units in one currency unit, or in one MB."""

NONE = -1
"""Index that stands for no rate plan, no pool or no communication plan."""

CHUNK_ROWS = 65_536
"""SIMs computed at a time, so that temporary arrays stay in the processor's cache."""


class OptimizerInputError(ValueError):
    """The input cannot be optimized: the message names the device or rate plan and the problem."""


def micro(value: Decimal | str | int) -> int:
    """Return a decimal as a number of 1e-6 units, rounded half up.

    Raises:
        OptimizerInputError: the value is not a finite number, or is too large for int64.
    """
    try:
        number = Decimal(value) * MICRO
        units = int(number.to_integral_value(ROUND_HALF_UP))
    except (InvalidOperation, ValueError, OverflowError, TypeError):
        raise OptimizerInputError(f"{value!r} is not a number") from None
    if abs(units) > np.iinfo(np.int64).max:
        raise OptimizerInputError(f"{value!r} is too large")
    return units


def from_micro(units: int) -> Decimal:
    """Return a number of 1e-6 units as an exact decimal with 6 places."""
    return Decimal(int(units)).scaleb(-6)


def largest(values: Integers) -> int:
    """Return the largest value of an array, 0 if it is empty."""
    return int(np.max(values)) if values.size else 0


def index_type(count: int) -> type[np.int16] | type[np.int64]:
    """Return the narrow type of indices below ``count``, int64 where int16 does not hold them."""
    return np.int16 if count <= 2**15 else np.int64


def rank_in_run(keys: Integers) -> Integers:
    """Return the position of each element within its run of equal neighbours, from 0, shape (n,)."""
    starts = np.ones(len(keys), dtype=np.bool_)
    starts[1:] = keys[1:] != keys[:-1]
    number = np.arange(len(keys))
    return number - np.maximum.accumulate(np.where(starts, number, 0))


@dataclass(frozen=True, slots=True)
class Devices:
    """N SIMs; every array has length N."""

    device_id: npt.NDArray[np.str_]
    """Unique; the ICCID where it is known. Breaks ties, so that the order of the rows never matters."""
    communication_plan: Integers
    """Row of `Eligibility.allowed`."""
    usage_micro_mb: Integers
    sms_usage: Integers
    days_active: Integers
    """1 to the period's days; only used for SIMs to which proration applies."""
    is_prorated: Flags
    """True for SIMs activated within the period."""
    current_rate_plan: Integers
    """Index of the rate plan, -1 where the current plan is unknown."""

    def __len__(self) -> int:
        """Return the number of SIMs."""
        return len(self.device_id)


@dataclass(frozen=True, slots=True)
class RatePlans:
    """P rate plans; every array has length P."""

    code: tuple[str, ...]
    rate_charge: Integers
    """1e-6 currency per period; prorated."""
    base_rate: Integers
    """1e-6 currency per period; never prorated."""
    plan_micro_mb: Integers
    """Included data in 1e-6 MB."""
    overage_rate: Integers
    """1e-6 currency per block."""
    block_micro_mb: Integers
    """``data_per_overage_charge`` in 1e-6 MB."""
    sms_rate: Integers
    """1e-6 currency per message."""
    pool: Integers
    """Index of the pool, -1 for a plan that is not pooled."""
    pool_name: tuple[str, ...]
    """Name of each pool."""
    is_retired: Flags
    """A retired plan is eligible only for SIMs that must keep it. Any other SIM on it must move, which is not a
    voluntary change."""

    def __len__(self) -> int:
        """Return the number of rate plans."""
        return len(self.code)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which rate plans each communication plan allows."""

    allowed: Flags
    """Shape (communication plans, rate plans)."""
    comm_group: Integers
    """Comm group of each communication plan: communication plans that allow the same rate plans are one group."""
    pool_group: Integers | None = None
    """For each comm group, the number of the group whose pools its SIMs are in, from 0, where pools are confined to
    comm groups; None = its own. SIMs that may only keep their plan are a comm group that shares the pools of others."""
    keeps_plan: Flags | None = None
    """For each comm group, True if its SIMs keep their plan even if it is retired; None = none of them."""

    @classmethod
    def of(cls, allowed: Flags) -> Eligibility:
        """Return the eligibility with its comm groups: one for each distinct row of ``allowed``."""
        if not len(allowed):
            return cls(allowed, np.zeros(0, dtype=np.int64))
        _, group = np.unique(allowed, axis=0, return_inverse=True)
        return cls(allowed, group.reshape(-1).astype(np.int64))

    def by_group(self) -> Flags:
        """Return the rate plans that each comm group allows, shape (comm groups, rate plans), bool."""
        groups = np.zeros((largest(self.comm_group + 1), self.allowed.shape[1]), dtype=np.bool_)
        groups[self.comm_group] = self.allowed
        return groups

    def eligible(self, is_retired: Flags) -> Flags:
        """Return the rate plans that are eligible for each comm group, shape (comm groups, rate plans), bool."""
        groups = self.by_group()
        keeps = np.zeros(len(groups), dtype=np.bool_) if self.keeps_plan is None else self.keeps_plan
        return groups & (~is_retired | keeps[:, None])

    def pool_groups(self) -> Integers:
        """Return the group whose pools each comm group's SIMs are in, shape (comm groups,)."""
        return np.arange(largest(self.comm_group + 1)) if self.pool_group is None else self.pool_group


def pools_of(
    codes: Sequence[str], pooled: Sequence[bool], names: Sequence[str | None]
) -> tuple[Integers, tuple[str, ...]]:
    """Return the pool index of each rate plan, and the names of the pools.

    Args:
        codes: code of each plan, length P.
        pooled: whether each plan is pooled.
        names: the pool that each plan names; a pooled plan without a name is its own pool.

    Returns:
        Pool of each plan, shape (P,), int64, -1 if it is not pooled; names, sorted.
    """
    keys = [
        (f"pool {name}" if name else f"plan {code}") if is_pooled else None
        for code, is_pooled, name in zip(codes, pooled, names, strict=True)
    ]
    known = sorted({key for key in keys if key is not None})
    index = {key: number for number, key in enumerate(known)}
    return np.array([NONE if key is None else index[key] for key in keys], dtype=np.int64), tuple(known)


def check_rate_plans(rate_plans: RatePlans) -> None:
    """Check that the cost formula is defined for the plans.

    Raises:
        OptimizerInputError: a plan has a block or overage rate that is not above 0, a negative price, or an overage
            rate or block that differs from its pool's; the message names the plan.
    """
    for number, code in enumerate(rate_plans.code):
        if rate_plans.block_micro_mb[number] <= 0 or rate_plans.overage_rate[number] <= 0:
            raise OptimizerInputError(f"rate plan {code!r}: data_per_overage_charge and overage_rate must be above 0")
        prices = ("rate_charge", "base_rate", "plan_micro_mb", "sms_rate")
        if any(getattr(rate_plans, name)[number] < 0 for name in prices):
            raise OptimizerInputError(f"rate plan {code!r}: a price or the included data is negative")
    for pool, name in enumerate(rate_plans.pool_name):
        members = np.flatnonzero(rate_plans.pool == pool)
        terms = {(int(rate_plans.overage_rate[p]), int(rate_plans.block_micro_mb[p])) for p in members}
        if len(terms) > 1:
            plans = ", ".join(rate_plans.code[p] for p in members)
            raise OptimizerInputError(f"{name}: its rate plans ({plans}) must share one overage rate and block")


def check_devices(devices: Devices, plan_count: int, communication_plan_count: int, period_days: int) -> None:
    """Check the values of each SIM; duplicate ids are found by `amop.solver.canonical`.

    Raises:
        OptimizerInputError: a value is out of range; the message names the first such SIM.
    """
    days = devices.days_active
    for problem, wrong in (
        ("usage_mb is negative", devices.usage_micro_mb < 0),
        ("sms_usage is negative", devices.sms_usage < 0),
        (f"days_active is not within 1 and {period_days}", (days < 1) | (days > period_days)),
        (
            "the communication plan is unknown",
            (devices.communication_plan < 0) | (devices.communication_plan >= communication_plan_count),
        ),
        (
            "the current rate plan is unknown",
            (devices.current_rate_plan >= plan_count) | (devices.current_rate_plan < NONE),
        ),
    ):
        if wrong.any():
            raise OptimizerInputError(f"device {str(devices.device_id[int(np.argmax(wrong))])!r}: {problem}")
