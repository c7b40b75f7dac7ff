"""Seeded instances for the benchmarks: fleets, rate plans and eligibility of documented shape.

The same (profile, device_count, plan_count, seed) gives the same instance on every machine. Usage is a mixture of
lognormal distributions (meters, trackers, terminals, cameras). Plans are geometric in included data with a price that
grows more slowly than the data, so that a larger plan is cheaper per MB.

    python -m bench.instances default 10000 folder
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from amop.solver import Devices, Eligibility, RatePlans, from_micro, pools_of

PERIOD_DAYS = 30
PROFILES = (
    "default",
    "heavy_tail",
    "all_pooled",
    "many_zeros",
    "identical",
    "single_plan",
    "large_pool",
    "many_pools",
)
KINDS = ((0.55, 1.5, 1.0), (0.25, 40.0, 1.1), (0.15, 400.0, 1.0), (0.05, 6000.0, 0.9))
"""Share of the SIMs, median MB in a period, sigma of the logarithm: meters, trackers, terminals, cameras."""
LARGEST_MB = 900_000.0
"""Usage of a router that transfers data all the time."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One problem to solve, with the arguments that it was made from."""

    profile: str
    seed: int
    devices: Devices
    rate_plans: RatePlans
    eligibility: Eligibility


def make_instance(profile: str, device_count: int, *, plan_count: int = 10, seed: int = 1) -> Instance:
    """Return the instance of a profile.

    Args:
        profile: ``default`` (half of the plans pooled, in two shared pools and one single-plan pool), ``heavy_tail``
            (Pareto usage with a few routers of hundreds of GB), ``all_pooled`` (every plan pooled), ``many_zeros`` (60
            % of the SIMs use no data), ``identical`` (twelve kinds of duplicate SIMs), ``single_plan`` (one pooled
            plan), ``large_pool`` (as ``default``, but the single-plan pool is that of the largest plan: one SIM more or
            less in it moves gigabytes), ``many_pools`` (every plan is its own pool, as the carrier bills where pools
            are not shared).
        device_count: number of SIMs.
        plan_count: number of rate plans; 1 for ``single_plan``.
        seed: of the random numbers.

    Raises:
        ValueError: the profile is unknown.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is none of {', '.join(PROFILES)}")
    plan_count = 1 if profile == "single_plan" else plan_count
    rng = np.random.default_rng([seed, device_count, plan_count, PROFILES.index(profile)])
    rate_plans = _rate_plans(rng, profile, plan_count)
    allowed = _allowed(rng, plan_count)
    return Instance(profile, seed, _devices(rng, profile, device_count, allowed), rate_plans, Eligibility.of(allowed))


def _rate_plans(rng: np.random.Generator, profile: str, count: int) -> RatePlans:
    number = np.arange(count)
    plan_mb = np.rint(10.0 ** (0.3 + 3.7 * number / max(1, count - 1))) if count > 1 else np.array([250.0])
    charge = np.rint(100 * (0.6 + 0.11 * plan_mb**0.62 * rng.uniform(0.93, 1.07, count))) / 100
    codes = [f"PLAN-{int(mb)}MB-{index:02d}" for index, mb in enumerate(plan_mb)]
    if profile in {"all_pooled", "single_plan"}:
        pooled = np.ones(count, dtype=bool)
        names = ["small" if index < count // 2 else "large" if index < count - 2 else None for index in number]
    elif profile == "many_pools":
        pooled, names = np.ones(count, dtype=bool), [None] * count
    else:
        pooled, alone = number % 2 == 1, count - 1 if profile == "large_pool" else count // 2
        names = [None if index == alone else "small" if index < count // 2 else "large" for index in number]
    pool, pool_name = pools_of(codes, pooled.tolist(), names)
    block_mb = np.where(plan_mb < 50, 1.0, np.where(plan_mb < 1000, 10.0, 100.0))
    per_mb = np.where(plan_mb < 50, 0.11, np.where(plan_mb < 1000, 0.03, 0.012))
    for index in range(len(pool_name)):
        members = np.flatnonzero(pool == index)
        block_mb[members], per_mb[members] = block_mb[members[-1]], per_mb[members[-1]]
    return RatePlans(
        code=tuple(codes),
        rate_charge=micro(charge),
        base_rate=micro(np.where(number % 3 == 0, 0.15, 0.0)),
        plan_micro_mb=micro(plan_mb),
        overage_rate=micro(np.rint(block_mb * per_mb * 100) / 100),
        block_micro_mb=micro(block_mb),
        sms_rate=micro(np.where(number % 4 == 0, 0.01, 0.008)),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.zeros(count, dtype=bool),
    )


def _allowed(rng: np.random.Generator, plan_count: int) -> np.ndarray:
    """Return 16 communication plans in at most 6 comm groups; the first group allows every plan."""
    sets = rng.random((6, plan_count)) < 0.75
    sets[0] = True
    sets[:, plan_count // 2] = True
    return np.asarray(sets[rng.integers(0, 6, 16)])


def _devices(rng: np.random.Generator, profile: str, count: int, allowed: np.ndarray) -> Devices:
    communication_plan = rng.choice(len(allowed), count, p=_falling(len(allowed)))
    usage = _usage(rng, profile, count)
    sms = np.where(rng.random(count) < 0.3, rng.geometric(0.12, count), 0)
    days = np.where(rng.random(count) < 0.05, rng.integers(1, PERIOD_DAYS + 1, count), PERIOD_DAYS)
    if profile == "identical":
        kind = rng.integers(0, 12, count)
        usage = usage[:12][kind] if count >= 12 else usage
        communication_plan = kind % len(allowed)
        sms, days = np.zeros(count, dtype=np.int64), np.full(count, PERIOD_DAYS)
    current = current_plans(rng, allowed[communication_plan])
    serial = rng.choice(10**9, count, replace=False) if count < 10**6 else rng.permutation(count)
    return Devices(
        device_id=np.array([f"8901170{number:012d}" for number in serial.tolist()], dtype="U19"),
        communication_plan=communication_plan,
        usage_micro_mb=micro(usage),
        sms_usage=sms,
        days_active=days,
        is_prorated=days < PERIOD_DAYS,
        current_rate_plan=current,
    )


def _usage(rng: np.random.Generator, profile: str, count: int) -> np.ndarray:
    kind = rng.choice(len(KINDS), count, p=[share for share, _, _ in KINDS])
    median, sigma = np.array([k[1] for k in KINDS])[kind], np.array([k[2] for k in KINDS])[kind]
    usage = rng.lognormal(np.log(median), sigma)
    if profile == "heavy_tail":
        usage = 5.0 * rng.pareto(1.05, count)
        routers = rng.random(count) < 3e-5
        usage[routers] = rng.uniform(1e5, LARGEST_MB, int(routers.sum()))
    usage[rng.random(count) < (0.6 if profile == "many_zeros" else 0.12)] = 0.0
    return np.minimum(usage, LARGEST_MB)


def current_plans(rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """Return a random eligible plan for each SIM, unknown for one in fifty."""
    draw = np.where(allowed, rng.random(allowed.shape, dtype=np.float32), -1.0)
    return np.where(rng.random(len(allowed)) < 0.02, -1, draw.argmax(axis=1)).astype(np.int64)


def _falling(count: int) -> np.ndarray:
    weights = 1.0 / np.arange(1, count + 1)
    return np.asarray(weights / weights.sum())


def micro(values: np.ndarray) -> np.ndarray:
    """Return currency or MB in 1e-6 units, rounded, int64."""
    return np.rint(np.asarray(values) * 1e6).astype(np.int64)


def write_csv(instance: Instance, folder: Path) -> None:
    """Write devices.csv, rate_plans.csv and eligibility.csv as ``amop optimize`` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    devices, plans, allowed = instance.devices, instance.rate_plans, instance.eligibility.allowed
    codes = [*plans.code, ""]
    with (folder / "devices.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["device_id", "communication_plan", "usage_mb", "sms_usage", "days_active", "current_rate_plan"]
        )
        for row in zip(
            devices.device_id.tolist(),
            devices.communication_plan.tolist(),
            devices.usage_micro_mb.tolist(),
            devices.sms_usage.tolist(),
            devices.days_active.tolist(),
            devices.current_rate_plan.tolist(),
            strict=True,
        ):
            mb = f"{row[2] // 10**6}.{row[2] % 10**6:06d}"
            writer.writerow([row[0], f"comm plan {row[1]}", mb, row[3], row[4], codes[row[5]]])
    with (folder / "rate_plans.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("rate_charge", "base_rate", "plan_mb", "overage_rate", "data_per_overage_charge", "sms_rate")
        arrays = (
            plans.rate_charge,
            plans.base_rate,
            plans.plan_micro_mb,
            plans.overage_rate,
            plans.block_micro_mb,
            plans.sms_rate,
        )
        writer.writerow(["rate_plan_code", *names, "allows_sim_pooling", "pool"])
        for index, code in enumerate(plans.code):
            is_pooled = bool(plans.pool[index] >= 0)
            kind, _, name = plans.pool_name[plans.pool[index]].partition(" ") if is_pooled else ("", "", "")
            pool = name if kind == "pool" else ""  # as `pools_of` names them: "plan X" is a pool of its own
            writer.writerow([code, *(from_micro(int(a[index])) for a in arrays), is_pooled, pool])
    with (folder / "eligibility.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["communication_plan", "rate_plan_code"])
        for plan, plan_allowed in enumerate(allowed):
            writer.writerows([f"comm plan {plan}", plans.code[index]] for index in np.flatnonzero(plan_allowed))


def main(profile: str, device_count: int, folder: Path, plan_count: int = 10, seed: int = 1) -> None:
    """Write the three files of one instance."""
    write_csv(make_instance(profile, device_count, plan_count=plan_count, seed=seed), folder)


if __name__ == "__main__":
    typer.run(main)
