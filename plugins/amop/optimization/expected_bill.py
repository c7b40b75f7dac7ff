"""The least expected bill of an instance, over scenarios from its daily history (``projection_method = scenarios``).

The point forecast, its bill and its proof stay what they are: the plans differ, and so does what is stored beside them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization import store
from amop.optimization.arrays import InstanceInputs
from amop.optimization.errors import ProofError
from amop.optimization.projection import SCENARIOS
from amop.optimization.rows import Instance
from amop.optimization.usage_history import UsageDay, UsageHistory, usage_history
from amop.optimization.usage_scenarios import DailyUsage, Remaining, simulate_usage
from amop.reference.time_zone import load_time_zone
from amop.solver import CertificateError, from_micro, verify
from amop.solver.canonical import canonical_order
from amop.solver.expected import ExpectedResult
from amop.solver.model import Integers
from amop.solver.scenario_certificate import verify_scenarios

ONE_DAY = timedelta(days=1)
SEED = 1
QUANTILES = (5, 50, 95)
"""Percentages of the scenarios whose bill is stored."""


def reason_without_scenarios(instance: Instance, inputs: InstanceInputs) -> str | None:
    """Return why the plans of an instance are chosen by the point forecast although its provider asks for scenarios.

    Returns:
        A sentence, or None where scenarios are used.
    """
    if inputs.mid_cycle is not None:
        return "a plan change counts from its day (upgrade_effect, downgrade_effect)"
    if instance.maximum_changes is not None:
        return "the number of plan changes is limited (maximum_changes)"
    if not (instance.projection or {}).get("usage_days"):
        return "too few syncs have read usage"
    return None


def uses_scenarios(instance: Instance) -> bool:
    """Return whether the provider asks for plans of the least expected bill."""
    return instance.projection_method == SCENARIOS


def read_scenarios(conninfo: str, instance: Instance, inputs: InstanceInputs) -> Integers:
    """Return the usage of each billed SIM at the end of the period in each scenario, shape (N, S), 1e-6 MB.

    SIMs whose usage is final have it in every scenario. The order of the SIMs and of the syncs does not matter.
    """
    history = _history(instance)
    with transaction(conninfo, application_name="amop read_scenarios") as connection:
        usage = _daily_usage(connection, instance, inputs, history)
    begins, ends = (np.array([getattr(day, name) for day in history.days]) for name in ("begins_at", "ends_at"))
    # The number of days that count falls with the first day: the first day of a SIM follows from its number.
    first_day = np.searchsorted(-np.array(history.counts), -np.maximum(inputs.history_days, 1))
    order = canonical_order(inputs.devices.device_id)
    daily = DailyUsage(
        usage=usage[order],
        length=np.array([(end - begin) / ONE_DAY for begin, end in zip(begins, ends, strict=True)]),
        weekday=_weekdays(begins.tolist(), ends.tolist(), instance.time_zone),
        first_day=first_day[order].clip(max=len(history.days)),
    )
    found = simulate_usage(daily, inputs.measured_micro_mb[order], _remaining(instance), seed=SEED)
    scenarios = np.empty_like(found)
    scenarios[order] = found
    is_final = inputs.devices.usage_micro_mb == inputs.measured_micro_mb
    scenarios[is_final] = inputs.measured_micro_mb[is_final, None]
    return scenarios


def verify_expected(instance: Instance, result: ExpectedResult) -> None:
    """Compute totals and lower bounds again, over the scenarios and at the point forecast; compare the certificates.

    Raises:
        ProofError: they differ.
    """
    try:
        verify_scenarios(result.certificate, result.bills, result.assignment)
        at_point = result.at_point_forecast
        verify(at_point.certificate, at_point.model, at_point.assignment)
    except CertificateError as error:
        name = instance.service_provider_name
        raise ProofError(
            f"{name}: the proof of the expected bill does not hold: {error}; nothing was written"
        ) from None


def document_of(result: ExpectedResult) -> dict[str, Any]:
    """Return the expected bill with its risk and its proof as it is stored; money as text with 6 places."""
    risk = result.risk
    return {
        "scenarios": result.bills.count,
        "seed": SEED,
        "expected_cost": _money(risk.expected()),
        "expected_lower_bound": _money(result.expected_lower_bound),
        "expected_current_cost": _money(result.current_risk.expected()),
        "expected_cost_of_point_forecast": _money(result.point_risk.expected()),
        **{f"cost_{percent}_percent": _money(risk.quantile(percent)) for percent in QUANTILES},
        "pools": [
            {
                "pool": name,
                "overage_probability": risk.overage_probability[pool],
                "expected_overage": _money(risk.expected_overage(pool)),
            }
            for pool, name in enumerate(result.bills.model.pool_name)
        ],
        "certificate": result.certificate.as_json(),
    }


def _history(instance: Instance) -> UsageHistory:
    """Return the history that the projection of an instance was based on."""
    days = [UsageDay.from_json(day) for day in (instance.projection or {})["usage_days"]]
    found = usage_history(
        days,
        billing_period_id=instance.billing_period_id,
        usage_as_of=instance.usage_as_of,
        cycle_end=instance.cycle_end,
        time_zone=instance.time_zone,
    )
    if found is None:
        raise ProofError(f"{instance.label}: the usage days of its projection are not those of its period")
    return found


def _daily_usage(
    connection: WarehouseConnection, instance: Instance, inputs: InstanceInputs, history: UsageHistory
) -> Integers:
    """Return the usage of each SIM on each usage day, shape (N, D), 1e-6 MB; the last has the rest of the cycle."""
    usage = np.zeros((len(inputs.device_ids), len(history.days)), dtype=np.int64)
    in_cycle = np.zeros(len(usage), dtype=np.int64)
    for number, day in enumerate(history.days[:-1]):
        found = store.sims.usage_of_day(
            connection, instance_id=instance.id, billing_period_id=day.billing_period_id, usage_date=day.usage_date
        )
        rows = np.searchsorted(inputs.device_ids, found.device_id)
        usage[rows, number] = _micro_mb(found.data_usage)
        if day.billing_period_id == instance.billing_period_id:
            in_cycle[rows] += usage[rows, number]
    usage[:, -1] = np.maximum(0, inputs.measured_micro_mb - in_cycle)
    return usage


def _micro_mb(used: Integers) -> Integers:
    """Return bytes in 1e-6 MB, rounded down: 1,000,000 / 1,048,576 = 15,625 / 16,384."""
    return np.asarray((used >> 14) * 15_625 + ((used & 16_383) * 15_625 >> 14))


def _remaining(instance: Instance) -> Remaining:
    """Return the rest of the period in parts of a day, the last one shorter."""
    begins, ends = list[datetime](), list[datetime]()
    moment = instance.usage_as_of
    while moment < instance.cycle_end:
        begins.append(moment)
        moment = min(moment + ONE_DAY, instance.cycle_end)
        ends.append(moment)
    lengths = [(end - begin) / ONE_DAY for begin, end in zip(begins, ends, strict=True)]
    return Remaining(np.array(lengths, dtype=np.float64), _weekdays(begins, ends, instance.time_zone))


def _weekdays(begins: list[datetime], ends: list[datetime], time_zone: str) -> Integers:
    """Return the local weekday of the middle of each interval, Monday = 0."""
    zone = load_time_zone(time_zone)
    middles = [begin + (end - begin) / 2 for begin, end in zip(begins, ends, strict=True)]
    return np.array([middle.astimezone(zone).weekday() for middle in middles], dtype=np.int64)


def _money(units: int) -> str:
    return str(from_micro(units))
