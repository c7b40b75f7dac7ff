"""Measurements of the optimizer: gap and time by profile and size, memory, determinism, changes; one core, warm."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from amop.optimization import OptimizationResult, optimize, verify
from amop.optimization.trade_off import TradeOffPoint, trade_off_curve
from bench.instances import PERIOD_DAYS, PROFILES, Instance, make_instance

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
"""Runs of each instance; the fastest counts, the others warm up."""


@dataclass(frozen=True, slots=True)
class Solved:
    """One instance, solved."""

    profile: str
    device_count: int
    seed: int
    seconds: float
    result: OptimizationResult


def solve(instance: Instance, *, time_limit: float = 0.0) -> OptimizationResult:
    """Return the verified result of an instance."""
    result = optimize(
        instance.devices, instance.rate_plans, instance.eligibility, period_days=PERIOD_DAYS, uses_proration=True,
        time_limit=time_limit,
    )  # fmt: skip
    verify(result.certificate, result.model, result.assignment)
    return result


def measure(device_count: int, seeds: range, *, repeats: int = REPEATS, time_limit: float = 0.0) -> list[Solved]:
    """Return every profile at one size, for some seeds."""
    solved = []
    for profile in PROFILES:
        for seed in seeds:
            instance = make_instance(profile, device_count, seed=seed)
            results = [solve(instance, time_limit=time_limit) for _ in range(repeats)]
            solved.append(Solved(profile, device_count, seed, min(r.seconds for r in results), results[0]))
    return solved


def summary(solved: list[Solved]) -> list[dict[str, object]]:
    """Return one row for each profile: gaps and seconds, median and worst, and how many were proved optimal."""
    rows: list[dict[str, object]] = []
    for profile in dict.fromkeys(one.profile for one in solved):
        mine = [one for one in solved if one.profile == profile]
        gaps, seconds = [one.result.gap for one in mine], [one.seconds for one in mine]
        rows.append(
            {
                "SIMs": f"{mine[0].device_count:,}",
                "profile": profile.replace("_", " "),
                "instances": len(mine),
                "gap, median": f"{median(gaps):.1e}",
                "gap, worst": f"{max(gaps):.1e}",
                "seconds, median": f"{median(seconds):.2f}",
                "seconds, worst": f"{max(seconds):.2f}",
                "proved optimal": sum(one.result.status == "optimal" for one in mine),
            }
        )
    return rows


def peak_megabytes(device_count: int, plan_count: int) -> float:
    """Return the largest resident size of a fresh process that makes and solves an instance, MB of 1,048,576 bytes."""
    code = (
        "import resource\n"
        "from bench.instances import make_instance\nfrom bench.optimizer import solve\n"
        f"instance = make_instance('default', {device_count}, plan_count={plan_count})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nsolve(instance)\n"
        "print(before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": f"{ROOT}/plugins:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def is_deterministic(device_count: int) -> bool:
    """Return True if shuffled rows and repeated runs give every SIM the same plan."""
    instance = make_instance("default", device_count)
    first = solve(instance)
    shuffle = np.random.default_rng(7).permutation(device_count)
    devices = replace(
        instance.devices,
        **{name: getattr(instance.devices, name)[shuffle] for name in instance.devices.__dataclass_fields__},
    )
    again = solve(replace(instance, devices=devices))
    same_rows = bool((again.assignment == first.assignment[shuffle]).all())
    return same_rows and bool((solve(instance).assignment == first.assignment).all())


def curve(device_count: int) -> tuple[list[TradeOffPoint], float]:
    """Return the trade-off of saving against changes for a fleet on last month's best plans, and its seconds."""
    instance = make_instance("default", device_count)
    last_month = solve(make_instance("default", device_count))
    rng = np.random.default_rng(3)
    usage = np.rint(instance.devices.usage_micro_mb * rng.lognormal(0.0, 0.3, device_count)).astype(np.int64)
    devices = replace(instance.devices, usage_micro_mb=usage, current_rate_plan=last_month.assignment)
    begun = time.perf_counter()
    points = trade_off_curve(
        devices, instance.rate_plans, instance.eligibility, period_days=PERIOD_DAYS, uses_proration=True
    )
    return points, time.perf_counter() - begun
