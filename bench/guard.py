"""Compare a few ratios with those kept in bench/ratios.toml: ``make ratios``; fails where one is above its bound.

Seconds differ between machines and are never compared; what two things cost on the same machine in the same minute is.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import typer

from bench import merge

FILE = Path(__file__).with_name("ratios.toml")
COUNT = 20_000
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio as it was kept, and the bound above which the guard fails."""

    kept: float
    most: float


def kept_ratios() -> dict[str, Ratio]:
    """Return the kept ratios by name."""
    with FILE.open("rb") as file:
        return {name: Ratio(**values) for name, values in tomllib.load(file).items()}


def measure() -> dict[str, float]:
    """Return the ratios of this tree by name."""
    costs = merge.measure(COUNT, REPEATS)
    reruns = costs[merge.DEVICE_RERUN], costs[merge.USAGE_RERUN]
    found = {}
    for task, bare in merge.BARE.items():
        found[f"{task}_seconds_times_bare"] = costs[task].seconds / costs[bare].seconds
        found[f"{task}_wal_times_bare"] = costs[task].wal_megabytes / costs[bare].wal_megabytes
    found["rerun_rows_written"] = sum(cost.rows for cost in reruns)
    found["rerun_wal_megabytes"] = sum(cost.wal_megabytes for cost in reruns)
    return found


def compare(found: dict[str, float], kept: dict[str, Ratio]) -> list[str]:
    """Return a sentence for each ratio above its bound, and for each that is measured or kept but not both."""
    faults = [f"{name} is {found[name]:.2f}; at most {kept[name].most:g} is allowed, it was {kept[name].kept:g}"
              for name in sorted(found.keys() & kept.keys()) if found[name] > kept[name].most]  # fmt: skip
    faults += [f"{name} is measured, but {FILE.name} does not keep it" for name in sorted(found.keys() - kept.keys())]
    return faults + [f"{name} is in {FILE.name}, but is not measured" for name in sorted(kept.keys() - found.keys())]


def main() -> None:
    """Print each ratio beside the kept one; exit with status 1 if one is above its bound."""
    found, kept = measure(), kept_ratios()
    for name, value in found.items():
        print(f"{name:40} {value:8.2f}  kept {kept[name].kept:g}, at most {kept[name].most:g}")
    faults = compare(found, kept)
    print(*faults, sep="\n")
    raise typer.Exit(bool(faults))


if __name__ == "__main__":
    typer.run(main)
