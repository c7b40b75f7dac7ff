"""Run the benchmarks and write docs/benchmarks.md: ``make bench``. All ratios are measured in one run.

python -m bench docs/benchmarks.md           everything, about 35 minutes on a quiet machine with two cores
python -m bench --quick benchmarks.md        small sizes only
python -m bench --section "Sync: the vendor's limit" docs/benchmarks.md     measure and replace one section
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amop.solver import OptimizationResult
from bench import (
    apply,
    baselines,
    decide,
    forecast,
    ladders,
    merge,
    optimizer,
    orchestration,
    page,
    price_lists,
    projection,
    risk_weight,
    scale,
    sync,
    waiting,
)
from bench.instances import make_instance
from bench.markdown import goal, markdown, with_section
from bench.warehouse import solve_seconds

console = Console(highlight=False, width=180)
PROOF_SECONDS = 25.0
"""Time limit of branch and bound at 1,000 SIMs."""


PROVED = "proved: a bill with at most this number of changes is at most this much lower"
"""Heading of the gap of one point of the trade-off curve."""


def main(
    target: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    quick: Annotated[bool, typer.Option(help="Small sizes only.")] = False,
    section: Annotated[list[str] | None, typer.Option(help="Only this section; may be repeated.")] = None,
) -> None:
    """Run all benchmarks, or some sections, and write the tables."""
    begun = time.perf_counter()
    if section:
        _replace_sections(target, section, quick)
        return
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: Python {platform.python_version()}, one core of"
        f" {platform.machine()}. The instances are those of `bench/instances.py`: profile, size and seed make one."
        " Every result is verified; the seconds of that are not in the tables.",
        "",
        "## Gap and time",
        "",
        "The gap is (bill - proved lower bound) / bill. Up to 3,000 SIMs are solved by branch and bound (here 1,000,"
        f" at most {PROOF_SECONDS:.0f} s); the bound of larger fleets is that of the dual prices.",
        "",
    ]
    seeds = optimizer.SEEDS
    sizes = [(1_000, seeds[:2]), (10_000, seeds), (100_000, seeds), (1_000_000, seeds[:2])]
    for count, seeds in sizes[:2] if quick else sizes:
        with console.status(f"{count:,} SIMs"):
            is_small = count <= 1_000
            solved = optimizer.measure(
                count,
                seeds,
                repeats=1 if is_small else optimizer.REPEATS,
                time_limit=PROOF_SECONDS if is_small else 0.0,
            )
        table = markdown(optimizer.summary(solved))
        lines += table
        console.print("\n".join(table))
    for title, measure in _sections(quick).items():
        section_begun = time.perf_counter()
        with console.status(title):
            table = measure()
        lines += [f"## {title}", "", *table, ""]
        console.print("\n".join([title, *table]))
        console.print(f"{title}: {time.perf_counter() - section_begun:.0f} s\n")
        # What was measured is kept if a later section fails.
        target.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    console.print(f"{target} written in {time.perf_counter() - begun:.0f} s")


def _sections(quick: bool) -> dict[str, Callable[[], list[str]]]:
    """Return the functions that measure the sections after the first one, by title."""
    return {
        "Random price lists": lambda: price_lists.table(
            [(10_000, 20)] if quick else [(10_000, 200), (100_000, 200), (1_000_000, 20)]
        ),
        "Baselines": lambda: _baselines(1_000 if quick else 10_000),
        "Memory, determinism, warehouse": lambda: _resources(quick),
        "Plan changes": lambda: _changes(10_000 if quick else 100_000),
        "Applying plan changes": lambda: apply.section(2_000 if quick else 20_000, 10_000 if quick else 100_000),
        "What-if ladders": lambda: _ladders(10_000 if quick else 100_000),
        "Operators' page and findings": lambda: page.section(20_000 if quick else 1_000_000),
        "Providers that wait": lambda: _waiting(50 if quick else 500),
        "Projection of usage: elapsed time and daily history": lambda: projection.table(projection.measure()),
        "Forecasts": lambda: forecast.section(seeds=1 if quick else 10),
        "When to change plans": lambda: decide.section(seeds=1 if quick else 10),
        "Risk weight": lambda: risk_weight.section(seeds=1 if quick else 10),
        "Sync: limits lifted": lambda: sync.limits_lifted(
            [10_000] if quick else [10_000, 100_000], 10_000 if quick else 50_000
        ),
        "Sync: the vendor's limit": lambda: sync.vendor_limit(10 if quick else sync.CALLS),
        "Sync: loaders alone": lambda: sync.loaders(10_000 if quick else 200_000),
        "Staging to main tables": lambda: merge.table(20_000 if quick else 1_000_000, 5_000 if quick else 20_000),
        "Orchestration": lambda: orchestration.table(100 if quick else 300),
        "Scale": lambda: scale.table([1_000, 10_000, *([] if quick else [100_000])]),
    }


def _replace_sections(target: Path, titles: list[str], quick: bool) -> None:
    """Measure some sections and replace them in the file.

    Raises:
        typer.BadParameter: there is no such section.
    """
    known = _sections(quick)
    for title in titles:
        if title not in known:
            raise typer.BadParameter(f"no section {title!r}; known are {', '.join(known)}")
        begun = time.perf_counter()
        table = known[title]()
        console.print("\n".join(table))
        console.print(f"{title}: {time.perf_counter() - begun:.0f} s\n")
        target.write_text(with_section(target.read_text(encoding="utf-8"), title, table), encoding="utf-8")


def _baselines(count: int) -> list[str]:
    rows = []
    for profile in ("default", "all_pooled", "many_zeros"):
        instance = make_instance(profile, count, seed=optimizer.SEEDS[0])
        ours = optimizer.solve(instance)
        rows.append(_baseline_row(profile, "this package", ours.total_cost, ours.seconds, ours))
        for name, baseline in baselines.BASELINES.items():
            found = baseline(instance)
            rows.append(_baseline_row(profile, name, found.bill, found.seconds, ours))
    return [f"{count:,} SIMs, 10 rate plans.", "", *markdown(rows)]


def _baseline_row(
    profile: str, name: str, bill: int | None, seconds: float, ours: OptimizationResult
) -> dict[str, object]:
    return {
        "profile": profile.replace("_", " "),
        "method": name,
        "bill above this package, %": "no answer" if bill is None else f"{100 * (bill / ours.total_cost - 1):.4f}",
        "bill above the bound, %": "no answer" if bill is None else f"{100 * (bill / ours.lower_bound - 1):.4f}",
        "seconds": f"{seconds:.2f}",
        "times the seconds": f"{seconds / ours.seconds:.0f}",
    }


def _resources(quick: bool) -> list[str]:
    count = 100_000 if quick else 1_000_000
    seconds = solve_seconds(make_instance("default", count, seed=optimizer.SEEDS[0]))
    peak, before = optimizer.peak_megabytes(count, 15)
    return markdown(
        [
            {
                "what": f"peak memory of a process that solves and verifies {count:,} SIMs x 15 plans",
                "measured": f"{peak:.0f} MB, of which {before:.0f} MB before it starts",
            },
            {
                "what": f"task `solve`, warehouse to warehouse, {count:,} SIMs: read, optimize, verify, write",
                "measured": f"{seconds:.1f} s",
            },
            {
                "what": "shuffled rows and repeated runs give every SIM the same plan, 100,000 SIMs",
                "measured": "yes" if optimizer.is_deterministic(100_000) else "NO",
            },
        ]
    )


def _changes(count: int) -> list[str]:
    points, seconds = optimizer.curve(count)
    rows = [
        {
            "minimum saving per change": f"{point.minimum_saving}",
            "changes": f"{point.changes:,}",
            "share of the changes": f"{100 * point.changes / max(1, points[0].changes):.1f} %",
            "saving": f"{point.saving:,.2f}",
            "share of the saving kept": f"{100 * point.kept:.2f} %",
            PROVED: f"{100 * float((point.total_cost - point.lower_bound) / point.total_cost):.4f} %",
        }
        for point in points
    ]
    return [
        f"{count:,} SIMs on last month's best plans, usage changed; {seconds:.1f} s for the curve.",
        "",
        *markdown(rows),
    ]


def _waiting(providers: int) -> list[str]:
    cost = waiting.measure_waiting(providers)
    return [
        "Cost of clean-ups that wait for their syncs, in the triggerer: the first minute, when they poll most often.",
        "",
        *markdown(
            [
                {
                    "waiting providers": f"{cost.providers:,}",
                    "connections to the warehouse": cost.connections,
                    "share of a core": f"{100 * cost.core_share:.1f} %",
                }
            ]
        ),
    ]


def _ladders(count: int) -> list[str]:
    seconds, found = ladders.ladders(count)
    gap = max((ladder.cost - ladder.bound) / ladder.cost for ladder in found)
    return markdown(
        [
            {
                "new plans to choose from": len(found),
                "SIMs": f"{count:,}",
                "seconds": f"{seconds:.1f}",
                f"goal: at most {ladders.LONGEST} s": goal(seconds <= ladders.LONGEST),
                "widest gap between a bill and its bound": f"{gap:.1e}",
            }
        ]
    )


if __name__ == "__main__":
    typer.run(main)
