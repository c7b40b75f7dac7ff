"""Test that generated fleets are deterministic, valid, heavy-tailed and worth optimizing."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from ruamel.yaml import YAML

from sandbox.carrier.catalogue import ALL_PROVIDERS, SERVICE_PROVIDERS, TENANTS, ServiceProvider, provider_of
from sandbox.carrier.fleet import BYTES_PER_MB, Fleet, billing_cycle, generate_fleet, luhn_check_digit
from sandbox.carrier.reference_file import reference_document, reference_yaml, write_reference

AS_OF = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[3]
INTEGRATIONS = ("jasper", "pod19", "tmobile_jasper", "rogers")


@pytest.fixture(scope="module")
def fleets() -> dict[str, Fleet]:
    """Return the fleets of the default world: 2,000 SIMs for each integration."""
    return {name: generate_fleet(integration=name, device_count=2000, seed=7, as_of=AS_OF) for name in INTEGRATIONS}


def test_a_fleet_is_determined_by_its_arguments() -> None:
    def fleet(**changes: object) -> list[object]:
        arguments = {"integration": "jasper", "device_count": 300, "seed": 7, "as_of": AS_OF} | changes
        return list(generate_fleet(**arguments).sims)  # type: ignore[arg-type]

    assert fleet() == fleet()
    assert fleet() != fleet(seed=8)
    assert fleet() != fleet(account="another")
    assert fleet() != fleet(as_of=AS_OF + timedelta(days=1))


def test_a_fleet_is_the_same_in_another_process() -> None:
    code = (
        "from datetime import datetime, UTC; from sandbox.carrier.fleet import generate_fleet\n"
        "f = generate_fleet(integration='rogers', device_count=50, seed=3,"
        " as_of=datetime(2026, 11, 24, 12, tzinfo=UTC))\n"
        "print([(s.iccid, s.data_usage, s.rate_plan) for s in f.sims])"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    here = generate_fleet(integration="rogers", device_count=50, seed=3, as_of=AS_OF)
    assert there.stdout.strip() == str([(s.iccid, s.data_usage, s.rate_plan) for s in here.sims])


def test_iccids_are_valid_and_unique_across_accounts(fleets: dict[str, Fleet]) -> None:
    iccids = [sim.iccid for fleet in fleets.values() for sim in fleet.sims]
    assert len(iccids) == len(set(iccids)) == 8000
    assert Counter(len(iccid) for iccid in iccids) == {20: 6000, 19: 2000}
    assert all(iccid.startswith("89") and iccid.isdecimal() for iccid in iccids)
    assert all(luhn_check_digit(iccid[:-1]) == iccid[-1] for iccid in iccids)
    other = generate_fleet(integration="jasper", device_count=2000, seed=7, as_of=AS_OF, account="second")
    assert {sim.iccid for sim in other.sims}.isdisjoint(iccids)


def test_luhn_check_digit_of_a_published_example() -> None:
    assert luhn_check_digit("7992739871") == "3"


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_a_fleet_has_realistic_shares(fleets: dict[str, Fleet], name: str) -> None:
    fleet = fleets[name]
    status = Counter(sim.status for sim in fleet.sims)
    assert set(status) == {"ACTIVATED", "DEACTIVATED", "RETIRED", "TEST_READY"}
    assert 1740 <= status["ACTIVATED"] <= 1820
    activated = [sim.date_activated for sim in fleet.sims if sim.date_activated is not None]
    assert 70 <= sum(moment >= fleet.cycle_start for moment in activated) <= 130, "about 5 % in this period"
    assert all(sim.date_activated is None for sim in fleet.sims if sim.status == "TEST_READY")
    active = sorted((sim.data_usage for sim in fleet.sims if sim.status == "ACTIVATED"), reverse=True)
    assert 0.10 <= active.count(0) / len(active) <= 0.25
    top = sum(active[: len(active) // 20])
    assert top / sum(active) >= 0.6, "the heaviest 5 % use most of the data"
    shared = {plan.rate_plan_code for plan in fleet.provider.rate_plans if plan.is_shared}
    assert 12 <= sum(sim.rate_plan in shared for sim in fleet.sims) <= 30, "about 1 % on a shared plan"
    by_plan = Counter(sim.rate_plan for sim in fleet.sims)
    assert sum(count for _, count in by_plan.most_common(4)) >= 1400, "most SIMs on few plans"


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_every_sim_is_consistent(fleets: dict[str, Fleet], name: str) -> None:
    fleet = fleets[name]
    plans = {plan.rate_plan_code: plan for plan in fleet.provider.rate_plans}
    allowed = {plan.name: plan.rate_plans for plan in fleet.provider.communication_plans}
    for sim in fleet.sims:
        assert sim.rate_plan in allowed[sim.communication_plan or ""]
        plan = plans[sim.rate_plan or ""]
        assert 1 <= sim.rate_plan_version <= plan.version
        assert AS_OF - timedelta(days=121) <= sim.date_updated <= AS_OF
        assert sim.date_activated is None or sim.date_added < sim.date_activated <= sim.date_updated
        assert 0 <= sim.roaming_data_usage <= sim.data_usage
        assert sim.sms_usage == 0 or sim.status == "ACTIVATED"
        assert sim.voice_usage == 0 or plan.is_shared
        assert sim.status in ("ACTIVATED", "DEACTIVATED", "RETIRED") or sim.data_usage == 0
    assert sum(sim.sms_usage > 0 for sim in fleet.sims) >= 30
    old = Counter(sim.rate_plan for sim in fleet.sims if sim.rate_plan_version < plans[sim.rate_plan or ""].version)
    assert len(old) == 2, "two plans have a version 2, with SIMs still on version 1"
    ages = [(AS_OF - sim.date_updated).days for sim in fleet.sims]
    assert {age // 30 for age in ages} == {0, 1, 2, 3}, "modified throughout the last 120 days"
    shared_moments = Counter(sim.date_updated for sim in fleet.sims).most_common(3)
    assert shared_moments[0][1] >= 15, "bulk edits: equal modification dates"


def test_usage_grows_with_the_billing_period() -> None:
    days = [datetime(2026, 11, day, 12, tzinfo=UTC) for day in (2, 9, 16)]
    totals = []
    for as_of in days:
        fleet = generate_fleet(integration="jasper", device_count=500, seed=7, as_of=as_of)
        share = (as_of - fleet.cycle_start) / (fleet.cycle_end - fleet.cycle_start)
        totals.append(sum(sim.data_usage for sim in fleet.sims) / share)
    assert max(totals) / min(totals) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("integration", "as_of", "start", "end"),
    [
        ("jasper", "2026-11-18T22:59:59+00:00", "2026-10-18T18:00", "2026-11-18T18:00"),
        ("jasper", "2026-11-18T23:00:00+00:00", "2026-11-18T18:00", "2026-12-18T18:00"),
        ("jasper", "2027-01-05T00:00:00+00:00", "2026-12-18T18:00", "2027-01-18T18:00"),
        ("rogers", "2026-02-10T00:00:00+00:00", "2026-01-31T23:00", "2026-02-28T23:00"),
        ("rogers", "2028-03-01T04:00:00+00:00", "2028-02-29T23:00", "2028-03-31T23:00"),
        ("tmobile_jasper", "2026-03-08T12:00:00+00:00", "2026-03-05T12:00", "2026-04-05T12:00"),
    ],
)
def test_billing_cycle_ends_on_the_providers_local_day_and_hour(
    integration: str, as_of: str, start: str, end: str
) -> None:
    provider = provider_of(integration)
    zone = ZoneInfo(provider.time_zone)
    expected = tuple(datetime.fromisoformat(text).replace(tzinfo=zone) for text in (start, end))
    assert billing_cycle(datetime.fromisoformat(as_of), provider) == expected


def _costs(fleet: Fleet) -> tuple[float, float, float]:
    """Return the current bill, the bill of a simple assignment, and a lower bound, for the whole period.

    Usage is projected to the end of the period. The bound is Lagrangian: every price of pooled data between zero and
    the overage price gives a valid bound, and the best one of a grid of prices is returned.
    """
    provider = fleet.provider
    plans = provider.rate_plans
    index = {plan.rate_plan_code: number for number, plan in enumerate(plans)}
    sims = [sim for sim in fleet.sims if sim.status == "ACTIVATED" or sim.data_usage]
    growth = (fleet.cycle_end - fleet.cycle_start) / (fleet.as_of - fleet.cycle_start) * 1.01
    used = np.array([s.data_usage / BYTES_PER_MB * (growth if s.status == "ACTIVATED" else 1) for s in sims])
    included = np.array([float(plan.plan_mb) for plan in plans])
    share = _billed_shares(fleet, provider)
    alone = np.full((len(sims), len(plans)), np.inf)
    for row, sim in enumerate(sims):
        allowed = next(c.rate_plans for c in provider.communication_plans if c.name == sim.communication_plan)
        for code in allowed:
            plan = plans[index[code]]
            cost = float(plan.rate_charge) * share[sim.iccid] + float(plan.base_rate + sim.sms_usage * plan.sms_rate)
            if not plan.allows_sim_pooling:
                blocks = math.ceil(max(0, used[row] - float(plan.plan_mb)) / float(plan.data_per_overage_charge))
                cost += blocks * float(plan.overage_rate)
            alone[row, index[code]] = cost
    pools: dict[str, list[int]] = {}
    for number, plan in enumerate(plans):
        if plan.allows_sim_pooling:
            pools.setdefault(plan.pool or plan.rate_plan_code, []).append(number)

    def bill(choice: np.ndarray) -> float:
        total = float(alone[np.arange(len(sims)), choice].sum())
        for members in pools.values():
            inside = np.isin(choice, members)
            over = max(0.0, float((used[inside] - included[choice[inside]]).sum()))
            plan = plans[members[0]]
            total += math.ceil(over / float(plan.data_per_overage_charge)) * float(plan.overage_rate)
        return total

    current = bill(np.array([index[sim.rate_plan or ""] for sim in sims]))
    bound, found = 0.0, current
    grids = []
    for members in pools.values():
        overage_price = plans[members[0]].overage_rate / plans[members[0]].data_per_overage_charge
        grids.append(np.linspace(0, float(overage_price), 11))
    for prices in itertools.product(*grids):
        priced = alone.copy()
        for price, members in zip(prices, pools.values(), strict=True):
            priced[:, members] += price * (used[:, None] - included[members])
        bound = max(bound, float(priced.min(axis=1).sum()))
        found = min(found, bill(priced.argmin(axis=1)))
    return current, found, bound


def _billed_shares(fleet: Fleet, provider: ServiceProvider) -> dict[str, float]:
    """Return the prorated share of the period that each SIM is billed for, by ICCID."""
    days = round((fleet.cycle_end - fleet.cycle_start) / timedelta(days=1))
    shares = {}
    for sim in fleet.sims:
        is_new = sim.date_activated is not None and sim.date_activated >= fleet.cycle_start
        if provider.uses_proration and is_new and sim.date_activated is not None:
            active = math.ceil((fleet.cycle_end - sim.date_activated) / timedelta(days=1))
            shares[sim.iccid] = min(max(active, 1), days) / days
        else:
            shares[sim.iccid] = 1.0
    return shares


@pytest.mark.parametrize("name", INTEGRATIONS)
@pytest.mark.parametrize("seed", [7, 99])
def test_optimization_saves_between_5_and_40_percent(name: str, seed: int) -> None:
    fleet = generate_fleet(integration=name, device_count=2000, seed=seed, as_of=AS_OF)
    current, found, bound = _costs(fleet)
    assert bound <= found <= current
    assert (current - found) / current >= 0.05, "a simple assignment saves at least 5 %"
    assert (current - bound) / current <= 0.40, "no assignment saves more than 40 %"


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        generate_fleet(integration="jasper", device_count=1, seed=1, as_of=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="device_count is -1"):
        generate_fleet(integration="jasper", device_count=-1, seed=1, as_of=AS_OF)
    with pytest.raises(KeyError, match="no sandbox provider for integration 'verizon'"):
        generate_fleet(integration="verizon", device_count=1, seed=1, as_of=AS_OF)
    assert generate_fleet(integration="jasper", device_count=0, seed=1, as_of=AS_OF).sims == []


def test_the_reference_file_describes_all_providers(tmp_path: Path) -> None:
    path = tmp_path / "reference.yaml"
    write_reference(path)
    assert path.read_text() == reference_yaml()
    document = YAML(typ="safe").load(path.read_text())
    assert document == reference_document()
    assert [tenant["id"] for tenant in document["tenants"]] == [tenant["id"] for tenant in TENANTS] == [1, 2]
    providers = document["service_providers"]
    assert [(p["id"], p["integration"], p["connection_id"]) for p in providers] == [
        (1, "jasper", "carrier_jasper"),
        (2, "pod19", "carrier_pod19"),
        (3, "tmobile_jasper", "carrier_tmobile_jasper"),
        (4, "rogers", "carrier_rogers"),
        (5, "thingspace", "carrier_thingspace"),
        (6, "teal", "carrier_teal"),
    ]
    assert len({p["time_zone"] for p in providers}) == 5
    assert len({p["bill_period_end_day"] for p in providers}) == 6
    assert [p["uses_proration"] for p in providers] == [True, True, True, False, True, False]
    assert sum(p["write_is_enabled"] for p in providers) == 2
    assert {p["detail_calls_per_run"] for p in providers} == {50}
    for provider, world in zip(providers, ALL_PROVIDERS, strict=True):
        plans = {plan["rate_plan_code"]: plan for plan in provider["rate_plans"]}
        assert 8 <= len(plans) == len(world.rate_plans) <= 12
        assert all(isinstance(plan["rate_charge"], str) and float(plan["overage_rate"]) > 0 for plan in plans.values())
        assert sum(plan["version"] == 2 for plan in plans.values()) == 2
        assert sum(plan["is_shared"] for plan in plans.values()) == 1
        assert sum(plan["pool"] is not None for plan in plans.values()) >= 2
        allowed = [tuple(plan["rate_plans"]) for plan in provider["communication_plans"]]
        if world.family != "control_center":
            assert allowed == []  # the carrier has none
            continue
        assert len(allowed) == 5
        assert len(set(allowed)) == 4, "two communication plans allow the same rate plans and form one comm group"
        assert all(set(codes) <= set(plans) for codes in allowed)


def test_pooled_plans_of_one_pool_agree_on_their_overage() -> None:
    for provider in SERVICE_PROVIDERS:
        pools: dict[str, set[tuple[object, object]]] = {}
        for plan in provider.rate_plans:
            if plan.pool is not None:
                pools.setdefault(plan.pool, set()).add((plan.overage_rate, plan.data_per_overage_charge))
        assert pools
        assert all(len(overages) == 1 for overages in pools.values())


def test_the_command_writes_the_reference_file_and_summarizes_the_fleets(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "sandbox.carrier.reference_file", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    run("--out", str(tmp_path / "reference.yaml"))
    assert (tmp_path / "reference.yaml").read_text() == reference_yaml() == run()
    summary = run("--summary", "--devices-per-account", "100", "--as-of", "2026-11-24T12:00:00+00:00")
    assert summary.count("100 SIMs, period") == 6
