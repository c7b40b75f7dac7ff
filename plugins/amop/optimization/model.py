"""The optimizer's input as arrays of integers: money in 1e-6 of the currency, data in 1e-6 MB.

Integers make every sum exact and independent of its order; decimals stay outside (`micro`, `from_micro`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MICRO = 1_000_000
"""Units of 1e-6 in one currency unit, or in one MB."""

NONE = -1
"""Index of no rate plan, no pool, no communication plan."""


class OptimizerInputError(ValueError):
    """The input cannot be optimized; the message names what is wrong with which device or rate plan."""


def micro(value: Decimal | str | int) -> int:
    """Return a number of 1e-6 units, rounded half up.

    Raises:
        OptimizerInputError: the value is not a finite number, or is beyond what 1e-6 units can hold.
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
    """Return the exact decimal of a number of 1e-6 units, with 6 decimals."""
    return Decimal(int(units)).scaleb(-6)


def largest(values: Integers) -> int:
    """Return the largest value, 0 for none."""
    return int(np.max(values)) if values.size else 0


@dataclass(frozen=True, slots=True)
class Devices:
    """N SIMs; every array has length N."""

    device_id: npt.NDArray[np.str_]
    """Unique; the ICCID where there is one. Breaks ties, so that the order of the rows never matters."""
    communication_plan: Integers
    """Row of `Eligibility.allowed`."""
    usage_micro_mb: Integers
    sms_usage: Integers
    days_active: Integers
    """1 to the period's days; counts only for SIMs to which proration applies."""
    is_prorated: Flags
    """True for SIMs activated within the period."""
    current_rate_plan: Integers
    """Index of the rate plan, -1 where the present plan is unknown."""

    def __len__(self) -> int:
        """Return the number of SIMs."""
        return len(self.device_id)


@dataclass(frozen=True, slots=True)
class RatePlans:
    """P rate plans; every array has length P."""

    code: tuple[str, ...]
    rate_charge: Integers
    """1e-6 currency a period; prorated."""
    base_rate: Integers
    """1e-6 currency a period; never prorated."""
    plan_micro_mb: Integers
    """Included data in 1e-6 MB."""
    overage_rate: Integers
    """1e-6 currency for each block."""
    block_micro_mb: Integers
    """``data_per_overage_charge`` in 1e-6 MB."""
    sms_rate: Integers
    """1e-6 currency for each message."""
    pool: Integers
    """Index of the pool, -1 for a plan that is not pooled."""
    pool_name: tuple[str, ...]
    is_retired: Flags
    """A retired plan is nobody's candidate; a SIM on it must move, which is not a voluntary change."""

    def __len__(self) -> int:
        """Return the number of rate plans."""
        return len(self.code)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which communication plan allows which rate plan."""

    allowed: Flags
    """Shape (communication plans, rate plans)."""
    comm_group: Integers
    """Comm group of each communication plan: those that allow the same set of rate plans."""

    @classmethod
    def of(cls, allowed: Flags) -> Eligibility:
        """Return the eligibility with its comm groups found: equal rows of ``allowed``."""
        if not len(allowed):
            return cls(allowed, np.zeros(0, dtype=np.int64))
        _, group = np.unique(allowed, axis=0, return_inverse=True)
        return cls(allowed, group.reshape(-1).astype(np.int64))

    def by_group(self) -> Flags:
        """Return which rate plans each comm group allows, shape (comm groups, rate plans)."""
        groups = np.zeros((largest(self.comm_group + 1), self.allowed.shape[1]), dtype=np.bool_)
        groups[self.comm_group] = self.allowed
        return groups


def pools_of(
    codes: Sequence[str], pooled: Sequence[bool], names: Sequence[str | None]
) -> tuple[Integers, tuple[str, ...]]:
    """Return the pool index of each rate plan and the pools' names; a pooled plan without a name is its own pool."""
    keys = [(f"pool {name}" if name else f"plan {code}") if is_pooled else None
            for code, is_pooled, name in zip(codes, pooled, names, strict=True)]  # fmt: skip
    known = sorted({key for key in keys if key is not None})
    index = {key: number for number, key in enumerate(known)}
    return np.array([NONE if key is None else index[key] for key in keys], dtype=np.int64), tuple(known)


def check_rate_plans(rate_plans: RatePlans) -> None:
    """Check what the cost formula needs of the plans.

    Raises:
        OptimizerInputError: a plan has a block or overage rate that is not above 0, a negative price, or differs
            from its pool's overage rate or block; the message names the plan.
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
