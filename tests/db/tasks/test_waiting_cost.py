"""Providers that wait share one connection of the triggerer."""

from __future__ import annotations

from bench.waiting import measure_waiting


def test_fifty_waiting_providers_use_one_connection_and_a_fraction_of_a_core() -> None:
    cost = measure_waiting(50, rows=3, seconds=3.0)
    assert (cost.providers, cost.connections) == (50, 1)
    assert cost.core_share < 0.5  # 0.005 for 500 providers on a quiet machine
