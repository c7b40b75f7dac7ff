"""The proof trees of a fleet share one budget of nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amop.solver import Terms, tree_budget, tree_search, verify
from tests.worlds.optimizer_cases import Case, case


def comm_groups(count: int, sims: int = 30) -> Case:
    """Return a fleet whose comm groups have a pool of their own each, with a wide gap and a tree of many nodes."""
    rng = np.random.default_rng(1)
    pool = {"overage_rate": 40, "data_per_overage_charge": 500, "pool": "one"}
    plans: list[dict[str, Any]] = [
        {"rate_charge": 1, "plan_mb": 1, **pool},
        {"rate_charge": 3, "plan_mb": 40, **pool},
        {"rate_charge": 9, "plan_mb": 300, **pool},
        *({"rate_charge": 10_000 + number, "plan_mb": 1, "code": f"own {number}"} for number in range(count)),
    ]
    allowed = [[True, True, True, *(number == own for own in range(count))] for number in range(count)]
    return case(
        [f"{value:.6f}" for value in rng.lognormal(2, 1.5, count * sims)],
        plans,
        allowed=allowed,
        terms=Terms(30, False, pool_scope="comm_group"),
        communication_plan=np.repeat(np.arange(count), sims),
    )


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the nodes of all trees that are searched."""
    found: list[int] = []
    search_tree = tree_search.search_tree

    def counted(*arguments: Any) -> tree_search.TreeResult:
        tree = search_tree(*arguments)
        found.append(tree.nodes)
        return tree

    monkeypatch.setattr(tree_budget, "search_tree", counted)
    return found


def test_trees_of_many_comm_groups_have_no_more_nodes_than_the_budget_of_the_fleet(
    nodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = comm_groups(8)
    result = fleet.optimize(time_limit=0)
    wanted = sum(nodes)
    assert len(nodes) == 8
    nodes.clear()
    monkeypatch.setattr(tree_budget, "MAX_FLEET_NODES", wanted // 4)
    limited = fleet.optimize(time_limit=0)
    verify(limited.certificate, limited.model, limited.assignment)
    assert 0 < sum(nodes) <= wanted // 4 + 2 * len(nodes)
    assert limited.certificate.proved_bound <= result.total_cost <= limited.total_cost


def test_the_budget_does_not_depend_on_the_order_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_budget, "MAX_FLEET_NODES", 60)
    fleet = comm_groups(8)
    order = np.random.default_rng(2).permutation(len(fleet.devices))
    first, second = fleet.optimize(time_limit=0), fleet.only(order).optimize(time_limit=0)
    assert (first.assignment[order] == second.assignment).all()
    assert first.lower_bound == second.lower_bound
