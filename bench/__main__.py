"""The benchmarks: `make bench`. Ratios measured side by side in one run; writes docs/benchmarks.md.

python -m bench docs/benchmarks.md           everything, about 15 minutes on a quiet machine of two cores
python -m bench --quick /tmp/benchmarks.md   small sizes only
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amop.optimization import OptimizationResult
from bench import baselines, optimizer, projection
from bench.instances import make_instance
from bench.warehouse import solve_seconds

console = Console(highlight=False, width=180)
PROOF_SECONDS = 25.0
"""Time limit of the search for a proof at 1,000 SIMs."""


def markdown(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return rows of the same keys as lines of a markdown table."""
    listed = list(rows)
    names = list(listed[0])
    return [
        "| " + " | ".join(names) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in listed),
        "",
    ]


def main(
    target: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    quick: Annotated[bool, typer.Option(help="Small sizes only.")] = False,
) -> None:
    """Measure everything and write the tables."""
    begun = time.perf_counter()
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: Python {platform.python_version()}, one core of"
        f" {platform.machine()}. The instances are those of `bench/instances.py`: profile, size and seed make one."
        " Every result is verified by the independent pass before it counts; its seconds are not in the table.",
        "",
        "## Gap and time",
        "",
        "The gap is (bill - proved lower bound) / bill. Up to 3,000 SIMs a branch and bound search goes on to the proof"
        f" (here at 1,000, at most {PROOF_SECONDS:.0f} s); larger fleets are bounded by the prices alone.",
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
    for title, part in (
        ("Against its peers", lambda: _peers(1_000 if quick else 10_000)),
        ("Memory, determinism, warehouse", lambda: _rest(quick)),
        ("Few changes", lambda: _changes(10_000 if quick else 100_000)),
        ("Projection of usage: elapsed time against daily history", lambda: projection.table(projection.measure())),
    ):
        with console.status(title):
            table = part()
        lines += [f"## {title}", "", *table, ""]
        console.print("\n".join([title, *table]))
    target.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    console.print(f"{target} written in {time.perf_counter() - begun:.0f} s")


def _peers(count: int) -> list[str]:
    rows = []
    for profile in ("default", "all_pooled", "many_zeros"):
        instance = make_instance(profile, count, seed=optimizer.SEEDS[0])
        ours = optimizer.solve(instance)
        rows.append(_peer(profile, "this package", ours.total_cost, ours.seconds, ours))
        for name, peer in baselines.BASELINES.items():
            found = peer(instance)
            rows.append(_peer(profile, name, found.bill, found.seconds, ours))
    return [f"{count:,} SIMs, 10 rate plans.", "", *markdown(rows)]


def _peer(profile: str, name: str, bill: int | None, seconds: float, ours: OptimizationResult) -> dict[str, object]:
    return {
        "profile": profile.replace("_", " "),
        "method": name,
        "bill above ours, %": "no answer" if bill is None else f"{100 * (bill / ours.total_cost - 1):.4f}",
        "bill above the bound, %": "no answer" if bill is None else f"{100 * (bill / ours.lower_bound - 1):.4f}",
        "seconds": f"{seconds:.2f}",
        "times our seconds": f"{seconds / ours.seconds:.0f}",
    }


def _rest(quick: bool) -> list[str]:
    count = 100_000 if quick else 1_000_000
    seconds = solve_seconds(make_instance("default", count, seed=optimizer.SEEDS[0]))
    peak, before = optimizer.peak_megabytes(count, 15)
    return markdown(
        [
            {"what": f"peak memory of a process that solves and verifies {count:,} SIMs x 15 plans",
             "measured": f"{peak:.0f} MB, of which {before:.0f} MB before it begins"},
            {"what": f"task `solve`, warehouse to warehouse, {count:,} SIMs: read, optimize, verify, write",
             "measured": f"{seconds:.1f} s"},
            {"what": "shuffled rows and repeated runs give every SIM the same plan, 100,000 SIMs",
             "measured": "yes" if optimizer.is_deterministic(100_000) else "NO"},
        ]
    )  # fmt: skip


def _changes(count: int) -> list[str]:
    points, seconds = optimizer.curve(count)
    rows = [
        {"a change must save": f"{point.minimum_saving}", "changes": f"{point.changes:,}",
         "share of the changes": f"{100 * point.changes / max(1, points[0].changes):.1f} %",
         "saving": f"{point.saving:,.2f}", "share of the saving kept": f"{100 * point.kept:.2f} %",
         "proved: with so few changes the bill is at most so much lower":
         f"{100 * float((point.total_cost - point.lower_bound) / point.total_cost):.4f} %"}
        for point in points
    ]  # fmt: skip
    return [
        f"{count:,} SIMs on last month's best plans, usage changed; {seconds:.1f} s for the curve.",
        "",
        *markdown(rows),
    ]


if __name__ == "__main__":
    typer.run(main)
