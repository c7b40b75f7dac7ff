"""Realised savings and projection errors of closed billing periods, each figure worked out by hand in its test."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.savings.realised import MeasurementError, measure_instance, measure_provider, providers_to_measure
from tests.db.cli.test_cli import as_airflow_json
from tests.db.cli.test_cli import run as run_cli
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, MEGABYTE, NOW, OptimizationWorld, money

LATER = CYCLE_END + timedelta(hours=10)
FINAL = {"last_usage_date": CYCLE_START - timedelta(days=1)}
"""Usage that is not projected: the forecast of a test can be read off its megabytes."""
LAST_READ = CYCLE_END - timedelta(hours=1)


class Period(OptimizationWorld):
    """A provider whose period is optimized, closes, and is followed by a complete sync of the next one."""

    def __init__(self, dsn: str, **settings: Any) -> None:
        super().__init__(dsn, **settings)
        self.next_period_id = self.insert(
            "billing_period",
            service_provider_id=1,
            bill_year=2026,
            bill_month=12,
            cycle_start=CYCLE_END,
            cycle_end=CYCLE_END + timedelta(days=30),
        )
        self.add_rate_plan("Small", "1", "10")
        self.add_rate_plan("Large", "5", "100")
        self.add_communication_plan("Tracking", ["Small", "Large"])

    def apply(self, *iccids: str, state: str = "applied", at: datetime = NOW) -> None:
        """Give the changes of these SIMs a state."""
        self.execute(
            "UPDATE amop.rate_plan_change SET state = %s, applied_at = %s WHERE device_id IN"
            " (SELECT id FROM amop.device WHERE iccid = ANY(%s))",
            state,
            at if state == "applied" else None,
            list(iccids),
        )

    def close(self, **mb_by_sim: float) -> None:
        """Let SIMs end the period with these megabytes, and let the first sync of the next period complete."""
        self.add_sync(self.billing_period_id, "last day", LAST_READ)
        for iccid, mb in mb_by_sim.items():
            self.execute(
                "INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage,"
                " voice_usage) SELECT id, %s, %s, %s, 0, 0 FROM amop.device WHERE iccid = %s",
                LAST_READ.date(),
                self.billing_period_id,
                round(mb * MEGABYTE),
                iccid.removeprefix("sim_"),
            )
        # The counters are those of the next period from now on.
        self.execute("UPDATE amop.device SET billing_period_id = %s, ctd_data_usage = 77", self.next_period_id)
        self.add_sync(self.next_period_id, "first day", CYCLE_END + timedelta(hours=5))

    def add_sync(self, billing_period_id: int, name: str, moment: datetime, status: str = "complete") -> None:
        """Add a device sync run that has merged usage."""
        self.insert(
            "device_sync_run",
            service_provider_id=1,
            dag_id="device_sync_jasper",
            dag_run_id=name,
            status=status,
            billing_period_id=billing_period_id,
            is_full=True,
            usage_as_of=moment,
            usage_merged_at=moment,
        )

    def measure(self) -> dict[int, dict[str, Any]]:
        """Measure the provider and return its rows by instance."""
        measure_provider(self.dsn, 1, now=LATER)
        return {row["instance_id"]: row for row in self.execute("SELECT * FROM amop.realised_saving")}


@pytest.fixture
def period(warehouse_dsn: str) -> Period:
    return Period(warehouse_dsn)


def test_what_the_applied_changes_saved_is_billed_with_the_real_usage(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.add_sim("2", "Tracking", "Small", 95, **FINAL)
    period.add_sim("3", "Tracking", "Large", 60, **FINAL)
    instance = period.optimize()
    assert instance["savings"] == money("85")  # 5 + 86 + 5 -> 1 + 5 + 5
    period.apply("1", "2")
    period.close(sim_1=12, sim_2=98.5, sim_3=60)
    row = period.measure()[instance["id"]]
    # Before: 5 + (1 + 89 blocks) + 5. With the changes: (1 + 2 blocks) + 5 + 5.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("100"), money("13"))
    assert (row["forecast_saving"], row["realised_saving"], row["applied_changes"]) == (money("85"), money("87"), 2)
    assert (row["projected_usage_mb"], row["real_usage_mb"]) == (money("163"), money("170.5"))
    assert row["absolute_error_mb"] == money("7.5")  # 4 + 3.5 + 0
    assert row["projection_error"] == pytest.approx(Decimal("-7.5") / Decimal("170.5"), abs=Decimal("1e-15"))
    assert row["weighted_error"] == pytest.approx(Decimal("7.5") / Decimal("170.5"), abs=Decimal("1e-15"))
    assert (row["usage_read_at"], row["measured_at"]) == (LAST_READ, LATER)


def test_a_change_that_turned_out_dearer_is_a_negative_saving(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1")
    period.close(sim_1=30)
    row = period.measure()[instance["id"]]
    # Forecast 5 -> 1; in truth 5 -> 1 + 20 blocks of overage.
    assert (row["forecast_saving"], row["realised_saving"]) == (money("4"), money("-16"))


def test_only_the_changes_that_were_applied_count(period: Period) -> None:
    for number in range(1, 6):
        period.add_sim(str(number), "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    assert instance["savings"] == money("20")
    period.apply("1", "2")
    period.apply("3", state="conflict")
    period.apply("4", state="failed")
    period.close(**{f"sim_{number}": 9.25 for number in range(1, 6)})
    row = period.measure()[instance["id"]]
    assert (row["applied_changes"], row["old_plans_cost"], row["applied_plans_cost"]) == (2, money("25"), money("17"))
    assert (row["forecast_saving"], row["realised_saving"]) == (money("8"), money("8"))


def test_nothing_applied_saves_nothing_and_the_projection_is_measured_all_the_same(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.close(sim_1=16)
    row = period.measure()[instance["id"]]
    assert (row["applied_changes"], row["forecast_saving"], row["realised_saving"]) == (0, money("0"), money("0"))
    assert (row["old_plans_cost"], row["projection_error"], row["weighted_error"]) == (
        money("5"),
        Decimal("-0.5"),
        Decimal("0.5"),
    )


def test_a_change_applied_after_the_period_s_end_changes_nothing_of_its_bill(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.add_sim("2", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1", at=CYCLE_END - timedelta(microseconds=1))
    period.apply("2", at=CYCLE_END)
    period.close(sim_1=8, sim_2=8)
    row = period.measure()[instance["id"]]
    assert (row["applied_changes"], row["realised_saving"]) == (1, money("4"))


def test_pools_are_billed_over_the_whole_fleet_of_the_instance(period: Period) -> None:
    pooled = {"allows_sim_pooling": True, "data_per_overage_charge": "10", "overage_rate": "4"}
    period.add_rate_plan("Pooled", "3", "50", **pooled)
    period.add_communication_plan("Pool", ["Pooled", "Large"])
    period.add_sim("1", "Pool", "Pooled", 40, **FINAL)
    period.add_sim("2", "Pool", "Pooled", 40, **FINAL)
    period.add_sim("3", "Pool", "Large", 10, **FINAL)
    instance = period.optimize()
    assert instance["savings"] == money("2")  # 3 + 3 + 5 -> 3 + 3 + 3
    period.apply("3")
    period.close(sim_1=95, sim_2=40, sim_3=10)
    row = period.measure()[instance["id"]]
    # Before: 135 MB of 100 in the pool: 35 over, four blocks of 4.00: 6 + 16 + 5. After: 145 of 150, no overage: 9.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("27"), money("9"))
    assert row["realised_saving"] == money("18")


def test_real_messages_and_billed_days_are_in_both_bills(period: Period) -> None:
    period.add_rate_plan("Texts", "31", "10", sms_rate="0.25")
    period.add_rate_plan("No texts", "6.2", "10", sms_rate="1")
    period.add_communication_plan("Meter", ["Texts", "No texts"])
    period.add_sim("1", "Meter", "Texts", date_activated=CYCLE_END - timedelta(days=10))
    instance = period.optimize()
    period.apply("1")
    period.close(sim_1=1)
    period.execute("UPDATE amop.device_usage SET sms_usage = 8")
    row = period.measure()[instance["id"]]
    # 10 of 31 days: 10 + 8 x 0.25 before; 2 + 8 x 1 with the change.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("12"), money("10"))


def test_a_sim_that_was_not_read_again_keeps_the_counters_of_the_period(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1")
    period.close()
    period.execute(
        "UPDATE amop.device SET billing_period_id = %s, ctd_data_usage = %s", period.billing_period_id, 11 * MEGABYTE
    )
    assert period.measure()[instance["id"]]["realised_saving"] == money("3")


def test_an_unknown_old_plan_is_billed_as_the_forecast_billed_it(period: Period) -> None:
    period.add_sim("1", "Tracking", None, 8, **FINAL)
    period.add_sim("2", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1", "2")
    period.close(sim_1=60, sim_2=8)
    row = period.measure()[instance["id"]]
    # SIM 1 counts on its base assignment (Small) in both bills: 1 + 50 blocks. Only SIM 2 moves money.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("56"), money("52"))
    assert row["applied_changes"] == 2


def test_measuring_again_writes_nothing(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1")
    period.close(sim_1=8)
    assert measure_provider(period.dsn, 1, now=LATER) == {"measured": 1}
    before = period.execute("SELECT *, xmin::text FROM amop.realised_saving")
    period.execute("UPDATE amop.device_usage SET data_usage = 0")
    assert measure_provider(period.dsn, 1, now=LATER + timedelta(days=1)) == {"measured": 0}
    assert measure_instance(period.dsn, instance["id"], now=LATER) is False
    assert period.execute("SELECT *, xmin::text FROM amop.realised_saving") == before
    assert providers_to_measure(period.dsn, now=LATER) == []


def test_a_period_is_measured_once_it_has_closed_and_a_later_sync_has_completed(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.optimize()
    first_day = CYCLE_END + timedelta(hours=5)
    assert providers_to_measure(period.dsn, now=LATER) == []
    period.add_sync(period.billing_period_id, "last day", LAST_READ)
    assert providers_to_measure(period.dsn, now=LATER) == []
    period.add_sync(period.next_period_id, "failed", first_day, status="failed")
    assert providers_to_measure(period.dsn, now=LATER) == []
    period.add_sync(period.next_period_id, "first day", first_day)
    assert providers_to_measure(period.dsn, now=CYCLE_END - timedelta(seconds=1)) == []
    assert providers_to_measure(period.dsn, now=LATER) == [{"service_provider_id": 1, "service_provider_name": "AT&T"}]


def test_an_instance_that_ended_with_errors_is_not_measured(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.execute("UPDATE amop.optimization_instance SET run_status = 'complete_with_errors'")
    period.close(sim_1=8)
    assert instance["id"] not in period.measure()


def test_an_optimization_of_a_closed_period_is_not_measured(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    forecast = period.optimize()
    period.close(sim_1=8)
    period.optimize(
        opened_by="carrier_optimization_jasper/closed period", now=LATER, billing_period_id=period.billing_period_id
    )
    assert list(period.measure()) == [forecast["id"]]
    assert providers_to_measure(period.dsn, now=LATER) == []


def test_every_completed_instance_of_the_period_has_its_own_row(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    first = period.optimize()
    period.apply("1")
    period.execute("UPDATE amop.device SET rate_plan = 'Small', ctd_data_usage = %s", 60 * MEGABYTE)
    second = period.optimize(opened_by="carrier_optimization_jasper/manual 2")
    period.execute("UPDATE amop.rate_plan_change SET state = 'applied', applied_at = %s", NOW)
    period.close(sim_1=62)
    rows = period.measure()
    # Large -> Small by the first (5 -> 53), Small -> Large by the second (53 -> 5): together nothing was saved.
    assert rows[first["id"]]["realised_saving"] == money("-48")
    assert rows[second["id"]]["realised_saving"] == money("48")


def test_without_any_usage_the_relative_errors_are_null(period: Period) -> None:
    period.add_sim("1", "Tracking", "Small", 0, **FINAL)
    instance = period.optimize()
    period.close()
    row = period.measure()[instance["id"]]
    assert (row["real_usage_mb"], row["projection_error"], row["weighted_error"]) == (money("0"), None, None)


def test_an_instance_without_sims_is_measured_as_nothing(period: Period) -> None:
    instance = period.optimize()
    period.close()
    row = period.measure()[instance["id"]]
    assert (row["old_plans_cost"], row["realised_saving"], row["real_usage_mb"]) == (money("0"),) * 3


@pytest.mark.parametrize(
    "change",
    [
        "rate_charge = 7 WHERE rate_plan_code = 'Large'",
        "overage_rate = 0 WHERE rate_plan_code = 'Small'",
        "is_retired = true",
        "allows_sim_pooling = true, pool = 'New'",
    ],
)
def test_prices_are_those_that_the_instance_was_solved_with(period: Period, change: str) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1")
    period.close(sim_1=12)
    period.execute(f"UPDATE amop.carrier_rate_plan SET {change}")
    row = period.measure()[instance["id"]]
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("5"), money("3"))


def test_an_instance_without_stored_prices_is_not_measured(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.optimize()
    period.close(sim_1=8)
    period.execute("DELETE FROM amop.optimization_rate_plan_result")
    assert period.measure() == {}


def test_an_instance_that_cannot_be_billed_is_named_and_holds_up_no_other(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    broken = period.optimize()
    period.execute("UPDATE amop.device SET communication_plan = 'Elsewhere', rate_plan = 'Unknown'")
    period.add_sim("2", "Tracking", "Large", 8, **FINAL)
    sound = period.optimize(opened_by="carrier_optimization_jasper/manual 2")
    period.close(sim_1=2**42, sim_2=8)
    with pytest.raises(MeasurementError, match=rf"1 of 2 .*AT&T \(1\), instance {broken['id']}: the usage"):
        measure_provider(period.dsn, 1, now=LATER)
    assert [row["instance_id"] for row in period.execute("SELECT instance_id FROM amop.realised_saving")] == [
        sound["id"]
    ]


def test_an_instance_whose_own_figures_do_not_add_up_is_not_measured(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.optimize()
    period.close(sim_1=8)
    period.execute("UPDATE amop.optimization_device SET projected_usage_mb = 108")
    with pytest.raises(MeasurementError, match="present plans cost 13.000000 .* but 5.000000 is stored"):
        period.measure()
    assert period.execute("SELECT 1 FROM amop.realised_saving") == []


def test_status_shows_forecast_and_realised_savings_projection_errors_and_changes_by_state(
    period: Period, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(period.dsn))
    for number in range(1, 7):
        period.add_sim(str(number), "Tracking", "Large", 8, **FINAL)
    nothing_applied = period.optimize()
    instance = period.optimize(opened_by="carrier_optimization_jasper/manual 2")
    period.execute("DELETE FROM amop.rate_plan_change WHERE instance_id = %s", nothing_applied["id"])
    period.apply("1", "2")
    for iccid, state in (("3", "conflict"), ("4", "failed"), ("5", "approved")):
        period.apply(iccid, state=state)
    period.close(**{f"sim_{number}": 10.24 for number in range(1, 7)})
    period.measure()
    exit_status, out, _ = run_cli(capsys, "status", "--json")
    state = json.loads(out)
    assert exit_status == 0
    (last,) = state["last_optimizations"]
    assert {name: last[name] for name in ("current_cost", "total_cost", "forecast_savings", "device_count")} == {
        "current_cost": "30.000000",
        "total_cost": "6.000000",
        "forecast_savings": "24.000000",
        "device_count": 6,
    }
    assert {name: last[name] for name in ("proposed", "approved", "rejected", "applied", "conflict", "failed")} == {
        "proposed": 1,
        "approved": 1,
        "rejected": 0,
        "applied": 2,
        "conflict": 1,
        "failed": 1,
    }
    assert (last["instance_id"], Decimal(last["gap_percent"])) == (instance["id"], Decimal(0))
    (saved,) = state["realised_savings"]
    # 2 SIMs x (5 - 1 - 1 block); 48 MB projected of 61.44.
    assert {name: saved[name] for name in ("instance_id", "applied_changes", "forecast_saving", "realised_saving")} == {
        "instance_id": instance["id"],
        "applied_changes": 2,
        "forecast_saving": "8.000000",
        "realised_saving": "6.000000",
    }
    assert (saved["projection_error_percent"], saved["weighted_error_percent"]) == ("-21.88", "21.88")
    exit_status, out, _ = run_cli(capsys, "status")
    assert exit_status == 0
    for text in ("Last optimizations", "24.00", "Their plan changes", "Realised savings", "6.00", "-21.88"):
        assert text in out


def test_status_shows_the_last_instance_of_a_period_in_which_nothing_was_applied(
    period: Period, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(period.dsn))
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.optimize()
    last = period.optimize(opened_by="carrier_optimization_jasper/manual 2")
    period.close(sim_1=8)
    period.measure()
    state = json.loads(run_cli(capsys, "status", "--json")[1])
    assert [(row["instance_id"], row["realised_saving"]) for row in state["realised_savings"]] == [
        (last["id"], "0.000000")
    ]
