"""The least expected bill of an instance, over scenarios from its daily history (``projection_method = scenarios``).

The point forecast, its bill and its proof stay what they are: the plans differ, and so does what is stored beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization import store
from amop.optimization.arrays import InstanceInputs
from amop.optimization.errors import ProofError
from amop.optimization.projection import SCENARIOS
from amop.optimization.rows import Instance, IntervalRecord
from amop.optimization.usage_history import UsageDay, UsageHistory, usage_history
from amop.optimization.usage_rates import DailyUsage, Remaining
from amop.optimization.usage_scenarios import interval_scenarios, simulate_usage
from amop.reference.time_zone import load_time_zone
from amop.solver import CertificateError, CostModel, from_micro, verify
from amop.solver.canonical import canonical_order
from amop.solver.expected import ExpectedResult
from amop.solver.model import Flags, Integers
from amop.solver.risk import verify_risk
from amop.solver.scenario_certificate import verify_scenarios
from amop.solver.scenarios import RiskFigures, ScenarioBills

ONE_DAY = timedelta(days=1)
SEED = 1
RECORD_LENGTH = timedelta(days=365)
FEWEST_PERIODS = 4
"""Measured periods from which on the record decides: that fewer than 2 of 4 are held has a probability of 0.4 %."""
QUANTILES = (5, 50, 95)
"""Percentages of the scenarios whose bill is stored."""


def read_record(conninfo: str, instance: Instance) -> IntervalRecord:
    """Return how often the interval of the provider's bill came true in the last year."""
    with transaction(conninfo, application_name="amop read_record") as connection:
        return store.record.interval_record(
            connection,
            service_provider_id=instance.service_provider_id,
            ends_after=instance.cycle_end - RECORD_LENGTH,
        )


def reason_without_scenarios(instance: Instance, inputs: InstanceInputs, record: IntervalRecord) -> str | None:
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
    if record.periods >= FEWEST_PERIODS and 2 * record.held < record.periods:
        return (
            f"the interval of the bill held {record.held} of the last {record.periods} bills, but should hold 9 in 10"
        )
    return None


def uses_scenarios(instance: Instance) -> bool:
    """Return whether the provider asks for plans of the least expected bill."""
    return instance.projection_method == SCENARIOS


@dataclass(frozen=True, slots=True)
class FleetHistory:
    """The daily history of the billed SIMs of an instance, and the rest of its period."""

    daily: DailyUsage
    """In canonical order."""
    remaining: Remaining
    measured: Integers
    """Usage of the period so far, shape (N,), 1e-6 MB."""
    is_final: Flags
    """Which SIMs have their usage of the whole period already, shape (N,)."""
    order: Integers
    """The SIM of each row of ``daily``, shape (N,)."""

    def scenarios(self) -> Integers:
        """Return the usage of each SIM at the end of the period in each scenario, shape (N, S), 1e-6 MB.

        SIMs whose usage is final have it in every scenario. The order of the SIMs and of the syncs does not matter.
        """
        return self._of_sims(simulate_usage(self.daily, self.measured[self.order], self.remaining, seed=SEED))

    def interval(self, model: CostModel, assignment: Integers) -> RiskFigures:
        """Return what an assignment costs in the scenarios of the bill's interval."""
        sets = interval_scenarios(self.daily, self.measured[self.order], self.remaining, seed=SEED)
        parts = [ScenarioBills(model, self._of_sims(usage)).risk(assignment) for usage in sets]
        return RiskFigures.merged(parts)

    def _of_sims(self, found: Integers) -> Integers:
        scenarios = np.empty_like(found)
        scenarios[self.order] = found
        scenarios[self.is_final] = self.measured[self.is_final, None]
        return scenarios


def read_fleet_history(conninfo: str, instance: Instance, inputs: InstanceInputs) -> FleetHistory:
    """Return the daily history of the billed SIMs of an instance."""
    history = _history(instance)
    with transaction(conninfo, application_name="amop read_history") as connection:
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
    return FleetHistory(
        daily=daily,
        remaining=_remaining(instance),
        measured=inputs.measured_micro_mb,
        is_final=inputs.devices.usage_micro_mb == inputs.measured_micro_mb,
        order=order,
    )


def verify_expected(instance: Instance, result: ExpectedResult) -> None:
    """Compute totals and lower bounds again, over the scenarios and at the point forecast; compare the certificates.

    Raises:
        ProofError: they differ.
    """
    try:
        verify_scenarios(result.certificate, result.bills, result.assignment)
        if result.risk_proof is not None:
            verify_risk(result.risk_proof, result.bills, result.assignment)
        at_point = result.at_point_forecast
        verify(at_point.certificate, at_point.model, at_point.assignment)
    except CertificateError as error:
        name = instance.service_provider_name
        raise ProofError(
            f"{name}: the proof of the expected bill does not hold: {error}; nothing was written"
        ) from None


def document_of(result: ExpectedResult, interval: RiskFigures) -> dict[str, Any]:
    """Return the expected bill with its risk and its proof as it is stored; money as text with 6 places.

    Args:
        result: of the optimizer.
        interval: what its plans cost in the scenarios of the bill's interval.
    """
    risk = result.risk
    return {
        "interval_scenarios": len(interval.bills),
        "expected_cost_of_interval": _money(interval.expected()),
        "worst_tenth_cost": _money(interval.worst_tenth()),
        **({} if (proof := result.risk_proof) is None else {"risk": proof.as_json(), "risk_adjusted_gap": proof.gap}),
        "scenarios": result.bills.count,
        "seed": SEED,
        "expected_cost": _money(risk.expected()),
        "expected_lower_bound": _money(result.expected_lower_bound),
        "expected_current_cost": _money(result.current_risk.expected()),
        "expected_cost_of_point_forecast": _money(result.point_risk.expected()),
        **{f"cost_{percent}_percent": _money(interval.quantile(percent)) for percent in QUANTILES},
        "pools": [
            {
                "pool": name,
                "overage_probability": interval.overage_probability[pool],
                "expected_overage": _money(interval.expected_overage(pool)),
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
