"""Pictures as data: shapes with coordinates and words, which the templates draw as SVG without a script.

Coordinates are in units of the picture's own size; the templates scale it to the screen. Every picture repeats a table
that stands beside it, for readers who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from amop.wording import several

WIDTH, HEIGHT = 800, 360
NODE_WIDTH = 12
NODE_GAP = 14
"""More than the height of a name: the names of the smallest plans stand below each other."""
LEFT, RIGHT = 210, WIDTH - 210
"""Edges of the plans' bars; their names stand outside."""
MOST_PLANS = 10
"""Plans on a side; the smaller ones are drawn as one."""
OTHERS = "other plans"
LINE_WIDTH, LINE_HEIGHT = 600, 160
FEWEST_COLUMNS = 20
"""Columns are no wider than if there were this many."""


@dataclass(frozen=True, slots=True)
class PlanFlow:
    """SIMs that are on one plan now and on another one, or on the same, in the result."""

    from_plan: str
    to_plan: str
    sims: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with a name and a number."""

    x: float
    y: float
    width: float
    height: float
    name: str
    sims: int
    is_forecast: bool = False


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A band from a plan to a plan."""

    path: str
    words: str
    is_move: bool
    """False where the plan stays the same."""


@dataclass(frozen=True, slots=True)
class FlowPicture:
    """Plans now at the left, in the result at the right, and the SIMs between them."""

    width: int
    height: int
    left: list[Bar]
    right: list[Bar]
    ribbons: list[Ribbon]


@dataclass(frozen=True, slots=True)
class LinePicture:
    """A curve from the left to the right, and an area below it."""

    width: int
    height: int
    points: str
    """For ``<polyline points>``."""
    dots: list[Bar]
    """Invisible rectangles that carry the words of each point."""


def flow_picture(flows: Sequence[PlanFlow]) -> FlowPicture | None:
    """Return the picture of plan migration, None where there is no SIM."""
    flows = _merge_small(flows)
    whole = sum(flow.sims for flow in flows)
    if not whole:
        return None
    left = _bars(flows, "from_plan", LEFT - NODE_WIDTH, whole)
    right = _bars(flows, "to_plan", RIGHT, whole)
    scale = _scale(whole, max(len(left), len(right)))
    from_y = {bar.name: bar.y for bar in left}
    to_y = {bar.name: bar.y for bar in right}
    order = {bar.name: number for number, bar in enumerate(right)}
    ribbons = []
    for flow in sorted(flows, key=lambda one: (from_y[one.from_plan], order[one.to_plan])):
        thickness = flow.sims * scale
        start, end = from_y[flow.from_plan], to_y[flow.to_plan]
        from_y[flow.from_plan] += thickness
        to_y[flow.to_plan] += thickness
        middle = (LEFT + RIGHT) / 2
        path = (
            f"M{LEFT} {start:.1f}C{middle} {start:.1f} {middle} {end:.1f} {RIGHT} {end:.1f}"
            f"V{end + thickness:.1f}C{middle} {end + thickness:.1f} {middle} {start + thickness:.1f} "
            f"{LEFT} {start + thickness:.1f}Z"
        )
        is_move = flow.from_plan != flow.to_plan
        move = f"{several(flow.sims, 'SIM')}: {flow.from_plan} → {flow.to_plan}"
        stay = f"{several(flow.sims, 'SIM stays', 'SIMs stay')} on {flow.from_plan}"
        ribbons.append(Ribbon(path, move if is_move else stay, is_move))
    return FlowPicture(WIDTH, HEIGHT, left, right, ribbons)


def _merge_small(flows: Sequence[PlanFlow]) -> list[PlanFlow]:
    """Return the flows with the plans that have the fewest SIMs as one plan."""
    sizes: dict[str, int] = {}
    for flow in flows:
        for plan in {flow.from_plan, flow.to_plan}:
            sizes[plan] = sizes.get(plan, 0) + flow.sims
    kept = set(sorted(sizes, key=lambda plan: (-sizes[plan], plan))[:MOST_PLANS])
    merged: dict[tuple[str, str], int] = {}
    for flow in flows:
        names = tuple(plan if plan in kept else OTHERS for plan in (flow.from_plan, flow.to_plan))
        merged[names[0], names[1]] = merged.get((names[0], names[1]), 0) + flow.sims
    return [PlanFlow(*names, sims) for names, sims in merged.items() if sims > 0]


def _scale(whole: int, bars: int) -> float:
    return (HEIGHT - NODE_GAP * max(0, bars - 1)) / whole


def _bars(flows: Sequence[PlanFlow], side: str, x: float, whole: int) -> list[Bar]:
    sizes: dict[str, int] = {}
    for flow in flows:
        plan = str(getattr(flow, side))
        sizes[plan] = sizes.get(plan, 0) + flow.sims
    other = {str(getattr(flow, "to_plan" if side == "from_plan" else "from_plan")) for flow in flows}
    scale = _scale(whole, max(len(sizes), len(other)))
    bars, y = [], 0.0
    for plan in sorted(sizes, key=lambda name: (-sizes[name], name)):
        height = sizes[plan] * scale
        bars.append(Bar(x, y, NODE_WIDTH, height, plan, sizes[plan]))
        y += height + NODE_GAP
    return bars


def line_picture(values: Sequence[tuple[int, Decimal]], words: Sequence[str]) -> LinePicture | None:
    """Return a curve through points, from the origin; None with fewer than two points or no positive value.

    Args:
        values: x and y of each point, x ascending.
        words: words of each point.
    """
    highest = max((value for _, value in values), default=Decimal(0))
    if len(values) < 2 or highest <= 0:
        return None
    furthest = values[-1][0]
    places = [(x / furthest * LINE_WIDTH, LINE_HEIGHT - max(0.0, float(y / highest)) * LINE_HEIGHT) for x, y in values]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(0.0, float(LINE_HEIGHT)), *places])
    width = LINE_WIDTH / len(values)
    dots = [
        Bar(x - width / 2, 0, width, LINE_HEIGHT, word, number)
        for (x, _), word, (number, _) in zip(places, words, values, strict=True)
    ]
    return LinePicture(LINE_WIDTH, LINE_HEIGHT, points, dots)


def column_picture(values: Sequence[int], shown: Sequence[str], *, forecast_from: int) -> list[Bar]:
    """Return columns of equal width for a series, as high as their values; empty where all are 0.

    Args:
        values: value of each column.
        shown: words of each column.
        forecast_from: number of the first column that is a forecast.
    """
    highest = max(values, default=0)
    if highest <= 0:
        return []
    step = LINE_WIDTH / max(len(values), FEWEST_COLUMNS)
    return [
        Bar(
            number * step,
            LINE_HEIGHT * (1 - value / highest),
            step * 0.8,
            LINE_HEIGHT * value / highest,
            word,
            value,
            number >= forecast_from,
        )
        for number, (value, word) in enumerate(zip(values, shown, strict=True))
    ]
