"""A warehouse with something in every view of the operators' page; for tests that only read it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from amop.database.connection import connect
from amop.device_sync.summary import summarize
from amop.page.store.what_if import present_plans
from amop.what_if.plan_table import write_plan_table
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds import moments
from tests.worlds.optimization_world import CYCLE_START, MEGABYTE, NOW, OptimizationWorld

SCRIPT = "<script>document.title='hacked'</script>"
"""What a carrier, a tenant or an error might hold; it must never run."""

PREVIOUS_START = CYCLE_START - timedelta(days=30)
SYNCED = NOW - timedelta(hours=3)
JASPER, POD19, TMOBILE, ROGERS = 1, 2, 3, 4
"""Ids of the integrations and of the provider on each."""

USAGE_MB = (0.2, 0.5, 0.9, 3, 4, 6, 11, 18, 22, 24, 30, 55)
"""Usage of the Jasper provider's SIMs in the cycle so far."""


def set_database_moment(postgres: EmbeddedPostgres, dsn: str, moment: datetime) -> None:
    """Let later connections to a database see a moment as the present time."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    ahead = moment - moments.machine_time()
    moments.set_database_clock(postgres.conninfo(str(name), user="postgres"), ahead=ahead)


class PageWorld(OptimizationWorld):
    """Four providers: one waits for an approval, one failed, one is fine, one was never synced.

    Args:
        dsn: a fresh migrated warehouse at the moment `NOW`.
    """

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, currency="USD")
        self.previous_period_id = self._add_period(JASPER, 10, PREVIOUS_START, CYCLE_START)
        self.sims = self._add_fleet()
        self.run_id = self._add_sync()
        self.old_instance_id = self._add_measured_period()
        row = self.optimize()
        self.instance_id, self.session_id = int(row["id"]), int(row["session_id"])
        self._wait_for_approval()
        self._add_other_providers()
        self._add_messages_and_records()
        self.finding_id = self._add_findings()
        self.what_if_id = self._add_what_if()

    def _add_period(self, provider_id: int, month: int, start: datetime, end: datetime) -> int:
        return int(
            self.insert(
                "billing_period",
                service_provider_id=provider_id,
                bill_year=2026,
                bill_month=month,
                cycle_start=start,
                cycle_end=end,
            )
        )

    def _add_fleet(self) -> list[int]:
        self.add_rate_plan("Small 1", "0.90", "1", overage_rate="0.55", sms_rate="0.01")
        self.add_rate_plan("Medium 25", "2.90", "25", overage_rate="0.75", data_per_overage_charge="5")
        pooled = {"overage_rate": "0.75", "allows_sim_pooling": True, "pool": "Fleet"}
        self.add_rate_plan("Pooled 5", "1.70", "5", **pooled)
        self.add_rate_plan("Pooled 50", "4.10", "50", **pooled)
        self.add_communication_plan("Meters", ["Small 1", "Medium 25", "Pooled 5", "Pooled 50"])
        self.add_communication_plan(SCRIPT, ["Small 1", "Medium 25"])
        self.insert("communication_plan", service_provider_id=JASPER, name="Unmapped")
        sims = []
        for number, mb in enumerate(USAGE_MB):
            plan = "Meters" if number % 4 else SCRIPT
            sim = self.add_sim(f"8901170000000000{number:04}", plan, "Medium 25", mb, imsi=f"31017000000{number:04}")
            self.insert_usage(sim, round(mb * MEGABYTE))
            sims.append(sim)
        self.add_sim("89011700000000009001", "Unmapped", "Medium 25", 1)
        self.execute("UPDATE amop.device SET msisdn = '15550001234', imei = '356938035643809' WHERE id = %s", sims[3])
        self.execute(
            "INSERT INTO amop.device_history VALUES (%s, '2026-09-20', now(), 'TEST_READY', NULL, 'Meters'),"
            " (%s, '2026-10-01', now(), 'ACTIVATED', 'Medium 25', 'Meters')",
            sims[3],
            sims[3],
        )
        self.execute(
            "INSERT INTO amop.device_usage VALUES (%s, '2026-10-10', %s, %s, 7, 0)",
            sims[3],
            self.previous_period_id,
            5 * MEGABYTE,
        )
        return sims

    def _add_sync(self) -> int:
        """Add a complete sync now, and one of the cycle before, at about the same time, that read half the usage."""
        run = {"service_provider_id": JASPER, "dag_id": "device_sync_jasper", "is_full": True}
        before = PREVIOUS_START + (NOW - CYCLE_START)
        self.insert(
            "device_sync_run",
            **run,
            dag_run_id="before",
            status="complete",
            billing_period_id=self.previous_period_id,
            usage_as_of=before,
            started_at=before,
            ended_at=before,
            summary=Jsonb({"device_count": 12, "cycle_data_usage": str(round(sum(USAGE_MB) * MEGABYTE / 2))}),
        )
        run_id = int(
            self.insert(
                "device_sync_run",
                **run,
                dag_run_id="today",
                status="running",
                billing_period_id=self.billing_period_id,
                usage_as_of=SYNCED,
                started_at=SYNCED - timedelta(minutes=20),
                pages=3,
            )
        )
        summarize(self.dsn, run_id)
        self.execute("UPDATE amop.device_sync_run SET status = 'complete', ended_at = %s WHERE id = %s", SYNCED, run_id)
        return run_id

    def _add_measured_period(self) -> int:
        session_id = self.insert(
            "optimization_session",
            service_provider_id=JASPER,
            billing_period_id=self.previous_period_id,
            status="complete",
            progress=100,
            opened_by="carrier_optimization_jasper/session_old",
            started_at=CYCLE_START - timedelta(days=3),
            ended_at=CYCLE_START - timedelta(days=3),
        )
        instance_id = int(
            self.insert(
                "optimization_instance",
                session_id=session_id,
                run_status="complete_with_success",
                device_count=12,
                current_cost="100",
                total_cost="80",
                lower_bound="80",
                savings="20",
                gap=0,
                changes_status="applied",
            )
        )
        self.execute(
            "INSERT INTO amop.realised_saving (instance_id, applied_changes, forecast_saving, old_plans_cost,"
            " applied_plans_cost, realised_saving, projected_usage_mb, real_usage_mb, absolute_error_mb,"
            " projection_error, weighted_error, measured_at)"
            " VALUES (%s, 7, 20, 104.5, 85.25, 19.25, 110, 100, 12, 0.1, 0.12, now())",
            instance_id,
        )
        return instance_id

    def _wait_for_approval(self) -> None:
        self.execute(
            "UPDATE amop.optimization_instance SET changes_status = 'waiting',"
            " changes_reason = 'more than 5 changes', changes_decided_by = 'amop', changes_decided_at = %s,"
            " changes_deadline = %s, changes_planned_by = %s WHERE id = %s",
            NOW,
            NOW + timedelta(days=10),
            f"carrier_optimization_jasper/session_{self.session_id}",
            self.instance_id,
        )

    def _add_other_providers(self) -> None:
        for integration, name, currency in (
            (POD19, "POD19", "USD"),
            (TMOBILE, "T-Mobile", "USD"),
            (ROGERS, "Rogers", "CAD"),
        ):
            self.insert(
                "service_provider",
                id=integration,
                tenant_id=1,
                integration_id=integration,
                name=name,
                connection_id=f"carrier_{integration}",
                time_zone="America/Toronto",
                currency=currency,
            )
        ran = {"is_full": True, "started_at": SYNCED - timedelta(hours=1), "ended_at": SYNCED}
        for provider_id, name, status, error in (
            (POD19, "pod19", "complete", None),
            (ROGERS, "rogers", "failed", f"the carrier refused the API key {SCRIPT}"),
        ):
            self.insert(
                "device_sync_run",
                service_provider_id=provider_id,
                dag_id=f"device_sync_{name}",
                dag_run_id="scheduled__2026-11-03T04:00:00+00:00",
                status=status,
                error=error,
                billing_period_id=self._add_period(provider_id, 11, CYCLE_START, NOW + timedelta(days=15)),
                usage_as_of=SYNCED,
                summary=Jsonb({"device_count": 40, "cycle_data_usage": "1048576"}),
                **ran,
            )

    def _add_messages_and_records(self) -> None:
        self.execute(
            "INSERT INTO amop.amop_outbox (kind, dedupe_key, payload, state, attempts, last_error, created_at)"
            " VALUES ('daily_sync', %s, '{}', 'dead', 3, %s, %s)",
            f"daily_sync:{self.run_id}:{JASPER}",
            f"AMOP answered 400 {SCRIPT}",
            NOW - timedelta(hours=2),
        )
        for key, reason, resolved in (
            ("open", f"the ICCID has letters {SCRIPT}", None),
            ("formula", "=HYPERLINK(1)", None),
            ("old", "usage is negative", NOW),
        ):
            self.insert(
                "device_quarantine",
                run_id=self.run_id,
                kind="device",
                record_key=key,
                raw=Jsonb({"iccid": key}),
                reason=reason,
                iccid="89011700000000000003",
                source="device_list",
                resolved_at=resolved,
                resolution="merged" if resolved else None,
            )

    def _add_findings(self) -> int:
        """Add findings of two providers, one of them dismissed, and return the one with the most money."""
        common = {"first_found_at": NOW - timedelta(days=2), "last_found_at": NOW}
        spike = {"rate_plan": SCRIPT, "recent_mb": "320.500000", "usual_mb": "9.000000", "recent_days": "3.0"}
        finding_id = int(
            self.insert(
                "finding",
                service_provider_id=JASPER,
                kind="usage_spike",
                subject="89011700000000000003",
                occurrence="11",
                device_id=self.sims[3],
                amount="155.505",
                facts=Jsonb(spike),
                **common,
            )
        )
        pool = {"sims": 2, "used_mb": "90", "allowance_mb": "100", "projected_mb": "180", "days_until_empty": "1.5"}
        for provider_id, amount, dismissed in ((JASPER, "60", True), (ROGERS, "44", False)):
            self.insert(
                "finding",
                service_provider_id=provider_id,
                kind="pool_over",
                subject="pool Fleet",
                occurrence="11",
                amount=amount,
                facts=Jsonb(pool),
                dismissed_at=NOW if dismissed else None,
                dismissed_by="ann" if dismissed else None,
                **common,
            )
        self.execute(
            "INSERT INTO amop.finding_check VALUES (%s, %s, %s, %s)",
            JASPER,
            self.run_id,
            NOW,
            Jsonb({"usage_spike": {"found": 31, "amount": "410.250000"}}),
        )
        return finding_id

    def _add_what_if(self) -> int:
        what_if_id = int(
            self.insert(
                "what_if",
                service_provider_id=JASPER,
                dag_id="what_if_jasper",
                dag_run_id="manual__1",
                instance_id=self.instance_id,
                rate_plans=SCRIPT,
                ladder_size=1,
                status="complete",
                device_count=12,
                present_cost="40",
                today_cost="30.125",
                today_bound="30",
                new_present_cost="38",
                new_cost="25",
                new_bound="24.5",
                changes=5,
                started_at=NOW,
                ended_at=NOW,
            )
        )
        self.execute(
            "INSERT INTO amop.what_if_move VALUES (%s, 'Medium 25', 'Small 1', 5), (%s, %s, 'Medium 25', 7)",
            what_if_id,
            what_if_id,
            SCRIPT,
        )
        self.execute(
            "INSERT INTO amop.what_if_ladder VALUES (%s, '{N1}', 25, 24.5, 5), (%s, '{N2}', 27, 26, 4)",
            what_if_id,
            what_if_id,
        )
        return what_if_id

    def plan_table(self) -> str:
        """Return the Jasper provider's rate plans as the form of a what-if has them."""
        with connect(self.dsn) as connection:
            return write_plan_table(present_plans(connection, service_provider_id=JASPER))

    def value(self, statement: str, *values: Any) -> Any:
        """Return the only value that a statement selects."""
        (row,) = self.execute(statement, *values)
        (found,) = row.values()
        return found


class ThousandProviders:
    """A thousand providers on Jasper, each with a session, a saving, findings, a message and a quarantined record.

    Args:
        dsn: a fresh migrated warehouse.
    """

    paths = ("", "sessions", "sims", "savings", "findings", "what-if", "outbox", "quarantine")
    """The views that are about all providers."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        with psycopg.connect(dsn) as connection:
            for statement in THOUSAND_PROVIDERS:
                connection.execute(statement)


THOUSAND_PROVIDERS = (
    "INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Acme IoT', 'UTC')",
    "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
    " SELECT n, 1, 1, 'Provider ' || n, 'carrier_' || n, 'UTC' FROM generate_series(1, 1000) AS n",
    "INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)"
    " SELECT id, 2026, 10, '2026-10-01', '2026-11-01' FROM amop.service_provider",
    "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id)"
    " SELECT service_provider_id, 'device_sync_jasper', 'once', 'failed', true, id FROM amop.billing_period",
    "INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason)"
    " SELECT id, 'device', 'x', '{}', 'planted' FROM amop.device_sync_run",
    "INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, status, opened_by)"
    " SELECT service_provider_id, id, 'complete', 'planted' FROM amop.billing_period",
    "INSERT INTO amop.optimization_instance (session_id) SELECT id FROM amop.optimization_session",
    "INSERT INTO amop.realised_saving (instance_id, applied_changes, forecast_saving, old_plans_cost,"
    " applied_plans_cost, realised_saving, projected_usage_mb, real_usage_mb, absolute_error_mb, measured_at)"
    " SELECT id, 1, 2, 9, 8, 1, 5, 5, 0, '2026-11-02' FROM amop.optimization_instance",
    "INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload)"
    " SELECT 'progress', id, id::text, '{\"data\": {\"Progress\": 100}}' FROM amop.optimization_session",
    "INSERT INTO amop.finding (service_provider_id, kind, subject, occurrence, amount, facts, first_found_at,"
    " last_found_at) SELECT provider.id, 'pool_over', 'pool ' || n, '1', n, '{\"sims\": 2, \"used_mb\": \"90\","
    ' "allowance_mb": "100", "projected_mb": "180", "days_until_empty": "1.5"}\', \'2026-11-01\', \'2026-11-01\''
    " FROM amop.service_provider AS provider CROSS JOIN generate_series(1, 20) AS n",
    "INSERT INTO amop.finding_check SELECT id, 1, '2026-11-01',"
    ' \'{"pool_over": {"found": 20, "amount": "1"}}\' FROM amop.service_provider',
)
