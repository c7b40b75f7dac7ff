"""The numbers of the worked example in docs/optimizer.md are those that the optimizer computes."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from amop.optimization.bill_items import pool_items, rate_plan_items
from amop.optimization.csv_files import OptimizationInputs, read_inputs, result_figures
from amop.solver import OptimizationResult, from_micro, micro, optimize, verify
from amop.solver.certificate import lower_bound
from amop.solver.explanation import FinalPrices, explain
from amop.solver.model import MICRO, Integers
from amop.solver.proof_tree import CountedSet, Leaf, Split, tree_total

PAGE = Path(__file__).resolve().parents[3] / "docs" / "optimizer.md"
PERIOD_DAYS = 30
SCALE = 10**9


def code_block(name: str) -> str:
    """Return the text of a fenced code block of the page."""
    found = re.search(rf"^```{name}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def table(first_column: str) -> list[dict[str, str]]:
    """Return the rows of all tables of the page whose first column has this name."""
    rows: list[dict[str, str]] = []
    names: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            names = []
        elif not names:
            names = cells
        elif names[0] == first_column and not set(cells[0]) <= {"-"}:
            rows.append(dict(zip(names, cells, strict=True)))
    assert rows, first_column
    return rows


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> OptimizationInputs:
    folder = tmp_path_factory.mktemp("worked_example")
    names = ("devices.csv", "rate_plans.csv", "eligibility.csv")
    for name in names:
        (folder / name).write_text(code_block(f"csv {name}"), encoding="utf-8")
    devices, rate_plans, eligibility = (folder / name for name in names)
    return read_inputs(devices, rate_plans, eligibility, period_days=PERIOD_DAYS)


@pytest.fixture(scope="module")
def result(inputs: OptimizationInputs) -> OptimizationResult:
    return optimize(inputs.devices, inputs.rate_plans, inputs.eligibility, period_days=PERIOD_DAYS, uses_proration=True)


def page_prices(result: OptimizationResult) -> tuple[int, ...]:
    """Return the dual prices of the page in the order of the model's pools, in 1 / SCALE currency per MB."""
    prices = {row["pool"]: int(Decimal(row["price per MB"]) * SCALE) for row in table("pool")}
    return tuple(prices[name] for name in result.model.pool_name)


def page_figures() -> dict[str, Decimal]:
    return {row["figure"]: Decimal(row["value"]) for row in table("figure")}


def test_the_bills_of_the_page_are_those_of_the_model(result: OptimizationResult) -> None:
    expected: list[tuple[str, str, list[Decimal]]] = []
    assignments: dict[str, Integers] = {
        "current": result.current_assignment,
        "base": result.base_assignment,
        "solved": result.assignment,
    }
    for name, assignment in assignments.items():
        costs = result.model.split_costs(assignment)
        plans = rate_plan_items(result.model, assignment, costs, instance_id=1, name=name)
        for pool in pool_items(result.model, assignment, [], instance_id=1, name=name):
            charges = sum((item.charges for item in plans if item.pool_name == pool.pool_name), Decimal(0))
            figures = [charges, pool.usage_mb, pool.included_mb, Decimal(pool.overage_blocks), pool.overage_cost]
            expected.append((name, pool.pool_name, [*figures, charges + pool.overage_cost]))
    columns = ("charges", "usage MB", "included MB", "blocks", "overage", "bill")
    found = [
        (row["assignment"], f"pool {row['pool']}", [Decimal(row[name]) for name in columns])
        for row in table("assignment")
    ]
    assert sorted(found) == sorted(expected)


def test_the_optimizer_finds_the_dual_prices_of_the_page(result: OptimizationResult) -> None:
    certificate = result.certificate
    found = [Decimal(price) / certificate.price_scale for price in certificate.price]
    assert [round(price, 6) for price in found] == [Decimal(price) / SCALE for price in page_prices(result)]
    assert from_micro(certificate.price_bound) == pytest.approx(page_figures()["price bound"], abs=Decimal("0.000002"))


def test_the_costs_at_the_prices_of_the_page_are_those_of_the_explanation(
    inputs: OptimizationInputs, result: OptimizationResult
) -> None:
    prices = FinalPrices(page_prices(result), SCALE)
    expected = []
    for row, device_id in enumerate(inputs.device_id.to_list()):
        for plan in explain(result.model, result.assignment, prices, row).plans:
            figures = [plan.own_cost, plan.above_allowance_mb, plan.data_cost, plan.total]
            expected.append((device_id, plan.rate_plan, figures))
    columns = ("own cost", "MB above included", "price of data", "total")
    found = [(row["SIM"], row["rate plan"], [Decimal(row[name]) for name in columns]) for row in table("SIM")]
    assert sorted(found) == sorted(expected)


def test_the_prices_of_the_page_prove_its_bound(result: OptimizationResult) -> None:
    figures, prices = page_figures(), page_prices(result)
    least: dict[str, Decimal] = {}
    for row in table("SIM"):
        least[row["SIM"]] = min(least.get(row["SIM"], Decimal(1000)), Decimal(row["total"]))
    meters = sum(value for name, value in least.items() if name <= "SIM-3")
    assert (figures["bound of the meters"], figures["bound of the cameras"]) == (meters, sum(least.values()) - meters)
    assert figures["price bound"] == sum(least.values())
    bound = micro(figures["price bound"])
    assert lower_bound(result.model, prices, SCALE) == bound
    by_hand = replace(result.certificate, price=prices, price_scale=SCALE, price_bound=bound)
    verify(by_hand, result.model, result.assignment)
    bill = from_micro(result.total_cost)
    assert figures["bill"] == bill
    assert figures["price gap"] == round((bill - figures["price bound"]) / bill, 6)


def test_the_sims_that_move_and_the_figures_are_those_of_the_page(
    inputs: OptimizationInputs, result: OptimizationResult
) -> None:
    codes = result.model.rate_plans.code
    moved = [
        {"moved": device_id, "from": codes[before], "to": codes[after]}
        for device_id, before, after in zip(
            inputs.device_id.to_list(), result.current_assignment, result.assignment, strict=True
        )
        if before != after
    ]
    assert moved == table("moved")
    figures = {name: value for name, value in result_figures(result, 0.0).items() if name != "seconds"}
    assert [f"{name} {value}" for name, value in figures.items()] == code_block("text").splitlines()


def test_the_cases_of_the_page_prove_the_bill_of_the_meters(result: OptimizationResult) -> None:
    none, some = table("case")
    sims = [f"SIM-{number}" for number in (1, 2, 3)]
    for case in (none, some):
        parts = [Decimal(case[sim]) for sim in sims]
        assert sum(parts) - Decimal(case["less charge x N"]) == pytest.approx(
            Decimal(case["bound"]), abs=Decimal("2e-6")
        )
    proof = result.certificate.tree
    assert proof is not None
    meters = result.certificate.pool_name.index("pool meters")
    tree = next(tree for tree in proof.trees if tree.pools == (meters,))
    assert tree.sets == (CountedSet("meter 50", None),)
    leaves = [
        Leaf((int(Decimal(case["price per MB"]) * SCALE),), ((0, int(Decimal(case["charge"]) * MICRO * SCALE)),))
        for case in (none, some)
    ]
    of_page = replace(tree, nodes=(Split(False, 0, 0), *leaves))
    assert of_page == tree
    assert from_micro(tree_total(result.model, of_page, SCALE) // SCALE) == Decimal(some["bound"])
    assert Decimal(none["bound"]) > Decimal(some["bound"])
    assert result.certificate.proved_bound == result.total_cost
