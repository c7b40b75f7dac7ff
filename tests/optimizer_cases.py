"""Cases for the optimizer's tests: the same case with its rows, plans or groups in another order."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from amop.optimization import Devices, Eligibility, RatePlans

PLAN_ARRAYS = (
    "rate_charge", "base_rate", "plan_micro_mb", "overage_rate", "block_micro_mb", "sms_rate", "pool", "is_retired",
)  # fmt: skip


def taken(devices: Devices, rows: Any) -> Devices:
    """Return the SIMs of these rows, in this order."""
    return Devices(**{field.name: getattr(devices, field.name)[rows] for field in fields(devices)})


def with_plans_in_order(
    devices: Devices, rate_plans: RatePlans, eligibility: Eligibility, order: Any
) -> tuple[Devices, RatePlans, Eligibility]:
    """Return the same case with its rate plans in another order."""
    order = np.asarray(order)
    place = np.append(np.argsort(order), -1)
    return (
        replace(devices, current_rate_plan=place[devices.current_rate_plan]),
        replace(
            rate_plans,
            code=tuple(rate_plans.code[plan] for plan in order),
            **{name: getattr(rate_plans, name)[order] for name in PLAN_ARRAYS},
        ),
        Eligibility.of(eligibility.allowed[:, order]),
    )


def with_groups_in_order(devices: Devices, eligibility: Eligibility, order: Any) -> tuple[Devices, Eligibility]:
    """Return the same case with its communication plans in another order."""
    place = np.argsort(np.asarray(order))
    return (
        replace(devices, communication_plan=place[devices.communication_plan]),
        Eligibility.of(eligibility.allowed[np.asarray(order)]),
    )
