"""Count the calls of applying plan changes, on a virtual clock at five calls a second.

A fleet with approved changes is stored as an optimization leaves it. The carrier is the sandbox's account, called in
this process without HTTP: every call takes a fifth of a second of the virtual clock, and other parties modify SIMs
meanwhile. Calls are counted, not timed, and are the same on every machine.

    python -m bench.apply
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import typer

from amop.carriers.protocol import CarrierClient, DevicePage
from amop.database.migrations import migrate
from amop.families import CONTROL_CENTER_LIMITS
from amop.plan_changes.apply import apply_changes
from amop.plan_changes.verify import verify_changes
from bench.markdown import goal, markdown
from sandbox.carrier.account import CarrierAccount
from sandbox.carrier.fleet import generate_fleet
from sandbox.world.postgres import EmbeddedPostgres

CALLS_PER_SECOND = 5.0
LARGEST_RATIO = 1.1
"""Goal: calls divided by one write for each change."""
DAILY_MODIFIED_SHARE = 0.01
"""Share of the SIMs that other parties modify in a day."""
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
LISTED_BEFORE = timedelta(minutes=30)
PAGE_SIZE = CONTROL_CENTER_LIMITS.page_size or 50
LIST, READ, WRITE = "list", "read", "write"

STORE = """
WITH tenant AS (INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Bench', 'UTC') RETURNING id),
provider AS (
    INSERT INTO amop.service_provider (
        id, tenant_id, integration_id, name, connection_id, time_zone, write_is_enabled, can_auto_update_rate_plans
    )
    SELECT 1, tenant.id, 1, 'Bench', 'carrier_bench', 'UTC', true, true FROM tenant RETURNING id
),
period AS (
    INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
    SELECT id, 2026, 11, '2026-11-01', '2026-12-01' FROM provider RETURNING id, service_provider_id
),
run AS (
    INSERT INTO amop.device_sync_run (
        service_provider_id, dag_id, dag_run_id, status, billing_period_id, is_full, started_at, devices_merged_at,
        list_is_complete, list_is_exact
    )
    SELECT service_provider_id, 'device_sync_jasper', 'bench', 'complete', id, true,
        %(listed_at)s::timestamptz, %(listed_at)s, true, %(is_exact)s
    FROM period
),
session AS (
    INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, opened_by, status, progress)
    SELECT service_provider_id, id, 'bench', 'complete', 100 FROM period RETURNING id
),
instance AS (
    INSERT INTO amop.optimization_instance (
        session_id, apply_changes, run_status, changes_status, inputs_read_at, current_cost, total_cost, savings
    )
    SELECT id, 'provider_setting', 'complete_with_success', 'approved', %(now)s, 2, 1, 1 FROM session RETURNING id
),
device AS (
    INSERT INTO amop.device (service_provider_id, iccid, status, rate_plan, communication_plan)
    SELECT provider.id, sim.iccid, 'ACTIVATED', sim.rate_plan, ''
    FROM provider, unnest(%(iccids)s::text[], %(rate_plans)s::text[]) AS sim (iccid, rate_plan)
    RETURNING id, iccid, rate_plan
)
INSERT INTO amop.rate_plan_change (instance_id, device_id, from_rate_plan, to_rate_plan, state, send_order)
SELECT instance.id, device.id, device.rate_plan, change.rate_plan, 'approved', change.place
FROM instance, device
INNER JOIN unnest(%(changed)s::text[], %(targets)s::text[]) WITH ORDINALITY AS change (iccid, rate_plan, place)
    ON device.iccid = change.iccid
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """What it took to apply and verify a number of changes."""

    changes: int
    calls: Counter[str]
    kept: int
    """SIMs that are on their target plan in the end."""
    verified: int
    """Changes that were read back."""

    @property
    def ratio(self) -> float:
        """Calls divided by the least number: one write for each change."""
        return self.calls.total() / self.changes


class VirtualCarrier:
    """A client of a sandbox account on a virtual clock, without HTTP."""

    def __init__(self, account_size: int, seed: int) -> None:
        self.now = NOW
        self.calls: Counter[str] = Counter()
        fleet = generate_fleet(
            integration="jasper", account="api_bench", device_count=account_size, seed=seed, as_of=NOW - LISTED_BEFORE
        )
        self.account = CarrierAccount(fleet, clock=self.clock)
        self._dice = random.Random(f"other parties {seed}")
        self._iccids = list(self.account.sims)

    def clock(self) -> datetime:
        """Return the present time."""
        return self.now

    def _call(self, kind: str) -> None:
        self.calls[kind] += 1
        span = timedelta(seconds=1 / CALLS_PER_SECOND)
        self.now += span
        if self._dice.random() < len(self._iccids) * DAILY_MODIFIED_SHARE * (span / timedelta(days=1)):
            self.account.touch([self._dice.choice(self._iccids)])

    def list_devices_page(self, *, modified_since: datetime, page_number: int, **_: Any) -> DevicePage:
        """Return a page of the SIMs modified since a moment."""
        self._call(LIST)
        iccids = self.account.modified_between(modified_since.replace(microsecond=0), None)
        first = PAGE_SIZE * (page_number - 1)
        devices = [self.account.list_entry(iccid) for iccid in iccids[first : first + PAGE_SIZE]]
        return DevicePage(page_number, devices, first + PAGE_SIZE >= len(iccids), {})

    def device_details(self, iccid: str) -> dict[str, Any]:
        """Return the details of a SIM."""
        self._call(READ)
        return self.account.details(iccid)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """Change the plan of a SIM."""
        self._call(WRITE)
        self.account.change_rate_plan(iccid, rate_plan_code)


def applied(changes: int, fleet: int, *, has_certain_list: bool, seed: int = 7) -> Applied:
    """Apply changes of a fleet on a fresh warehouse, verify them, and return what it took.

    Args:
        changes: number of SIMs that change their plan.
        fleet: number of SIMs.
        has_certain_list: False: the device list is not exact, so that each SIM is read.
        seed: of the fleet.
    """
    carrier = VirtualCarrier(fleet, seed)
    targets = _targets(carrier.account, changes)
    client = cast("CarrierClient", carrier)
    with _warehouse() as conninfo:
        _store(conninfo, carrier.account, targets, is_exact=has_certain_list)
        apply_changes(conninfo, 1, client, calls_per_second=CALLS_PER_SECOND, clock=carrier.clock)
        verify_changes(conninfo, 1, client, clock=carrier.clock)
        with psycopg.connect(conninfo) as connection:
            found = connection.execute(
                "SELECT count(*) FROM amop.rate_plan_change WHERE state = 'applied' AND verified_at IS NOT NULL"
            ).fetchone()
    kept = sum(carrier.account.sims[iccid].rate_plan == target for iccid, target in targets.items())
    return Applied(changes, carrier.calls, kept, found[0] if found else 0)


def _targets(account: CarrierAccount, changes: int) -> dict[str, str]:
    """Return another plan for each of a number of active SIMs, spread over the fleet."""
    allowed = {plan.name: plan.rate_plans for plan in account.provider.communication_plans}
    active = [sim for sim in account.sims.values() if sim.status == "ACTIVATED" and sim.communication_plan in allowed]
    chosen = random.Random("changes").sample(active, changes)
    return {
        sim.iccid: next(code for code in allowed[sim.communication_plan or ""] if code != sim.rate_plan)
        for sim in chosen
    }


@contextmanager
def _warehouse() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            server.create_database("bench")
            migrate(server.conninfo("bench"))
            yield server.conninfo("bench")


def _store(conninfo: str, account: CarrierAccount, targets: dict[str, str], *, is_exact: bool) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            STORE,
            {
                "now": NOW,
                "listed_at": NOW - LISTED_BEFORE,
                "is_exact": is_exact,
                "iccids": list(account.sims),
                "rate_plans": [sim.rate_plan for sim in account.sims.values()],
                "changed": list(targets),
                "targets": list(targets.values()),
            },
        )
        connection.execute("ANALYZE")


def section(changes: int, fleet: int) -> list[str]:
    """Return the lines of the section."""
    rows = []
    for way, is_certain in (("lists of the modified SIMs", True), ("one read for each SIM", False)):
        found = applied(changes, fleet, has_certain_list=is_certain)
        rows.append(
            {
                "checked by": way,
                "changes": f"{found.changes:,}",
                "writes": f"{found.calls[WRITE]:,}",
                "pages of lists": f"{found.calls[LIST]:,}",
                "reads of one SIM": f"{found.calls[READ]:,}",
                "calls": f"{found.calls.total():,}",
                "calls / writes": f"{found.ratio:.3f}",
                f"goal: at most {LARGEST_RATIO}": goal(found.ratio <= LARGEST_RATIO) if is_certain else "",
                "minutes at 5 calls a second": f"{found.calls.total() / CALLS_PER_SECOND / 60:.1f}",
                "SIMs on their target plan": f"{found.kept:,}",
                "read back": f"{found.verified:,}",
            }
        )
    return [
        f"{changes:,} changes of a fleet of {fleet:,} SIMs, applied and verified on a virtual clock; the call floor is "
        f"one write for each change. Other parties modify {DAILY_MODIFIED_SHARE:.0%} of the SIMs a day. Calls are "
        "counted; the minutes follow from them.",
        "",
        *markdown(rows),
    ]


def main() -> None:
    """Print the section at its full size."""
    typer.echo("\n".join(section(20_000, 100_000)))


if __name__ == "__main__":
    typer.run(main)
