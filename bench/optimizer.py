"""Measure the optimizer on one core, warm: gap and time by profile and size, memory, determinism, plan changes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from amop.solver import Devices, OptimizationResult, Terms, optimize, verify
from amop.solver.trade_off import TradeOffPoint, trade_off_curve
from bench.instances import PERIOD_DAYS, PROFILES, Instance, make_instance

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(101, 104)
"""None of them was used to choose the settings of the search."""
REPEATS = 3
"""Runs of each instance; the fastest counts, the others warm up."""


@dataclass(frozen=True, slots=True)
class Solved:
    """One solved instance."""

    profile: str
    device_count: int
    seed: int
    seconds: float
    result: OptimizationResult


def solve(instance: Instance, *, time_limit: float = 0.0) -> OptimizationResult:
    """Return the verified result of an instance."""
    result = optimize(
        instance.devices,
        instance.rate_plans,
        instance.eligibility,
        period_days=PERIOD_DAYS,
        uses_proration=True,
        time_limit=time_limit,
    )
    verify(result.certificate, result.model, result.assignment)
    return result


def measure(device_count: int, seeds: range, *, repeats: int = REPEATS, time_limit: float = 0.0) -> list[Solved]:
    """Solve every profile at one size for some seeds; return the fastest of some repeats each."""
    solved = []
    for profile in PROFILES:
        for seed in seeds:
            instance = make_instance(profile, device_count, seed=seed)
            results = [solve(instance, time_limit=time_limit) for _ in range(repeats)]
            solved.append(Solved(profile, device_count, seed, min(r.seconds for r in results), results[0]))
    return solved


def summary(solved: list[Solved]) -> list[dict[str, object]]:
    """Return one row per profile: median and worst gap and seconds, and the number of instances proved optimal."""
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


def peak_megabytes(device_count: int, plan_count: int) -> tuple[float, float]:
    """Return the peak resident size of a fresh process that solves and verifies an instance, and its size before.

    The process reads the instance from a file of arrays, so that generating it does not count. MB of 1,048,576 bytes.
    """
    instance = make_instance("default", device_count, plan_count=plan_count, seed=SEEDS[0])
    with tempfile.NamedTemporaryFile(prefix="amop-bench-", suffix=".npz") as file:
        devices = {name: getattr(instance.devices, name) for name in instance.devices.__dataclass_fields__}
        np.savez(file, **devices)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "bench.optimizer", file.name, str(plan_count)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{ROOT}/plugins:{ROOT}", "PATH": "/usr/bin:/bin"},
        )
    before, after = map(float, done.stdout.split())
    return after, before


def _solve_file(path: str, plan_count: int) -> None:
    """Solve the devices of a file with the rate plans of a small instance; print peak memory before and after, MB."""
    like = make_instance("default", 1, plan_count=plan_count, seed=SEEDS[0])
    with np.load(path) as arrays:
        devices = Devices(**{name: arrays[name] for name in Devices.__dataclass_fields__})
    before = _peak()
    solve(replace(like, devices=devices))
    print(before, _peak())


def _peak() -> float:
    """Return the peak resident size of this process so far in MB; getrusage would include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def is_deterministic(device_count: int) -> bool:
    """Return True if shuffled rows and repeated runs give every SIM the same plan."""
    instance = make_instance("default", device_count, seed=SEEDS[0])
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
    """Return the trade-off curve of a fleet on last month's best plans, and the seconds it took."""
    instance = make_instance("default", device_count, seed=SEEDS[0])
    last_month = solve(instance)
    rng = np.random.default_rng(3)
    usage = np.rint(instance.devices.usage_micro_mb * rng.lognormal(0.0, 0.3, device_count)).astype(np.int64)
    devices = replace(instance.devices, usage_micro_mb=usage, current_rate_plan=last_month.assignment)
    begun = time.perf_counter()
    terms = Terms(PERIOD_DAYS, uses_proration=True)
    points = trade_off_curve(devices, instance.rate_plans, instance.eligibility, terms)
    return points, time.perf_counter() - begun


if __name__ == "__main__":
    _solve_file(sys.argv[1], int(sys.argv[2]))
