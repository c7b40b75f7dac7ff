"""Which DAG runs play which cells: the whole matrix, and the covering subset of the end-to-end tests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from typing import Any

from amop import ids
from tests.worlds.matrix_cells import DAILY_TASKS, OPTIMIZATION_TASKS, Action
from tests.worlds.matrix_days import Cell, Group
from tests.worlds.matrix_handles import RUN_PREFIX
from tests.worlds.matrix_rows import OPTIMIZATION_TABLES, SYNC_TABLES
from tests.worlds.matrix_world import Provider

FIRST_ID = 1001
INTEGRATIONS = ("jasper", "rogers", "pod19", "tmobile_jasper")
OPTIMIZED = ("rogers",)
"""Integrations of the cells of the optimization: their fleets have changes that need an approval."""
UNDISTURBED = "undisturbed"
STARTING_TASKS = ("cleanup.should_optimize", "cleanup.trigger_optimization")
WITH_SESSION = (Action.CLEAR_FAILED,)

COVERING_DAYS: tuple[tuple[str, str, tuple[tuple[str, Action], ...]], ...] = (
    (
        "jasper",
        "never",
        (
            ("sync.queue_sync", Action.CLEAR_DOWNSTREAM),
            ("sync.fetch_devices", Action.CLEAR_FAILED),
            ("sync.fetch_usage", Action.CLEAR_RUN),
            ("sync.publish_notification", Action.CLEAR),
            ("sync.archive_pages", Action.CLEAR),
        ),
    ),
    (
        "rogers",
        "never",
        (
            ("cleanup.wait_for_staging", Action.CLEAR_DOWNSTREAM),
            ("cleanup.merge_devices", Action.CLEAR_FAILED),
            ("cleanup.merge_usage", Action.CLEAR_DOWNSTREAM),
            ("cleanup.update_communication_plans", Action.CLEAR_FAILED),
            ("cleanup.check_quality", Action.CLEAR_RUN),
            ("cleanup.publish_summary", Action.CLEAR_DOWNSTREAM),
            ("cleanup.notify_amop", Action.CLEAR_FAILED),
        ),
    ),
    (
        "pod19",
        "always",
        (
            ("select_providers", Action.CLEAR_DOWNSTREAM),
            ("cleanup.should_optimize", Action.CLEAR_FAILED),
            ("cleanup.trigger_optimization", Action.CLEAR),
        ),
    ),
    ("rogers", "never", (("sync.fetch_usage", Action.MARK_FAILED),)),
)
"""Integration, param ``optimization``, and the tasks that fail one after another, of each day of the subset."""

COVERING_OPTIMIZATIONS: tuple[tuple[str, tuple[tuple[str, Action], ...]], ...] = (
    (
        "rogers",
        (
            ("open_instance", Action.CLEAR_DOWNSTREAM),
            ("group_communication_plans", Action.CLEAR_RUN),
            ("validate_groups", Action.CLEAR_RUN),
            ("project_usage", Action.CLEAR_RUN),
            ("assign_base", Action.CLEAR_RUN),
        ),
    ),
    (
        "rogers",
        (
            ("solve", Action.CLEAR_RUN),
            ("write_results", Action.CLEAR_RUN),
            ("write_workbook", Action.CLEAR_FAILED),
            ("publish_report", Action.CLEAR_RUN),
        ),
    ),
    (
        "rogers",
        (
            ("mail_report", Action.CLEAR),
            ("plan_changes", Action.CLEAR_FAILED),
            ("approve_changes", Action.CLEAR_DOWNSTREAM),
            ("record_approval", Action.CLEAR_FAILED),
            ("apply_changes", Action.CLEAR_DOWNSTREAM),
            ("verify_changes", Action.MARK_SUCCESS),
        ),
    ),
    ("rogers", (("group_communication_plans", Action.DELETE_RUN),)),
)
"""Integration and the tasks that fail one after another, of each optimization of the covering subset."""


class Plan:
    """The DAG runs of a matrix, each with providers of its own."""

    def __init__(self) -> None:
        self._ids = count(FIRST_ID)
        self.daily: list[Group] = []
        self.optimizations: list[Group] = []

    @property
    def groups(self) -> list[Group]:
        """Return all DAG runs."""
        return self.daily + self.optimizations

    @property
    def providers(self) -> list[Provider]:
        """Return the providers of all DAG runs."""
        return _providers_of(self.groups)

    @property
    def optimized_providers(self) -> list[Provider]:
        """Return the providers of the optimizations, which start from a sync."""
        return _providers_of(self.optimizations)

    def add_undisturbed(self) -> None:
        """Add an undisturbed run of every DAG, first: the others are compared with it."""
        days, optimizations = self.daily, self.optimizations
        self.daily, self.optimizations = [], []
        for integration, optimization in sorted({(_integration(day), day.conf["optimization"]) for day in days}):
            self.add_day(integration, f"{UNDISTURBED}_{integration}_{optimization}", [], optimization=optimization)
        for integration in sorted({_integration(run) for run in optimizations}):
            self.add_optimization(integration, f"{UNDISTURBED}_{integration}", None, None)
        self.daily += days
        self.optimizations += optimizations

    def provider(self, integration: str, *, applies_changes: bool = False) -> Provider:
        """Return a new provider."""
        return Provider(next(self._ids), integration, applies_changes)

    def add_day(
        self, integration: str, name: str, pressed: Sequence[tuple[str, Action]], *, optimization: str = "always"
    ) -> None:
        """Add a run of the daily DAG: one provider for each task that fails, and one whose day is not disturbed."""
        cells = [Cell(self.provider(integration), task, DAILY_TASKS[task], action) for task, action in pressed]
        cells.append(Cell(self.provider(integration)))
        conf: dict[str, Any] = {
            "service_provider_ids": [cell.provider.id for cell in cells],
            "optimization": optimization,
        }
        self.daily.append(Group(ids.device_sync_dag(integration), f"{RUN_PREFIX}{name}", cells, conf, SYNC_TABLES))

    def chain_day(self, integration: str, name: str, chain: Sequence[tuple[str, Action]], *, optimization: str) -> None:
        """Add a run of the daily DAG for one provider, whose tasks fail one after another."""
        provider = self.provider(integration)
        cells = [Cell(provider, task, DAILY_TASKS[task], action) for task, action in chain]
        conf: dict[str, Any] = {"service_provider_ids": [provider.id], "optimization": optimization}
        dag_id = ids.device_sync_dag(integration)
        self.daily.append(Group(dag_id, f"{RUN_PREFIX}{name}", cells, conf, SYNC_TABLES, is_chain=True))

    def chain_optimization(self, integration: str, name: str, chain: Sequence[tuple[str, Action]]) -> None:
        """Add a run of an optimization DAG, whose tasks fail one after another."""
        provider = self.provider(integration, applies_changes=True)
        cells = [Cell(provider, task, OPTIMIZATION_TASKS[task], action) for task, action in chain]
        conf: dict[str, Any] = {"service_provider_id": provider.id}
        dag_id = ids.carrier_optimization_dag(integration)
        self.optimizations.append(Group(dag_id, f"{RUN_PREFIX}{name}", cells, conf, OPTIMIZATION_TABLES, is_chain=True))

    def add_optimization(self, integration: str, name: str, task: str | None, action: Action | None) -> None:
        """Add a run of an optimization DAG."""
        provider = self.provider(integration, applies_changes=True)
        cell = Cell(provider, task, OPTIMIZATION_TASKS[task] if task else "", action)
        dag_id = ids.carrier_optimization_dag(integration)
        conf: dict[str, Any] = {"service_provider_id": provider.id}
        self.optimizations.append(Group(dag_id, f"{RUN_PREFIX}{name}", [cell], conf, OPTIMIZATION_TABLES))


def _providers_of(groups: Sequence[Group]) -> list[Provider]:
    return list(dict.fromkeys(cell.provider for group in groups for cell in group.cells))


def _integration(group: Group) -> str:
    return group.cells[0].provider.integration


def covering_subset(plan: Plan) -> None:
    """Add every task at least once and every action at least once, in chains: what the end-to-end tests play."""
    for number, (integration, optimization, chain) in enumerate(COVERING_DAYS):
        plan.chain_day(integration, f"covering_day_{number}", chain, optimization=optimization)
    for number, (integration, chain) in enumerate(COVERING_OPTIMIZATIONS):
        plan.chain_optimization(integration, f"covering_optimization_{number}", chain)


def whole_matrix(plan: Plan, wanted: str = "") -> None:
    """Add every task with every action, or those whose name matches, each with a provider of its own.

    Only the tasks that start the optimization, and the most common action, are played with a session.
    """
    for action, integration in zip(Action, cycle(INTEGRATIONS)):
        tasks = [task for task in DAILY_TASKS if re.search(wanted, f"{task}, {action}")]
        name = f"{action.name.lower()}_{integration}"
        with_session = [task for task in tasks if task in STARTING_TASKS or ("." in task and action in WITH_SESSION)]
        mapped = [task for task in tasks if "." in task and task not in with_session]
        for optimization, chosen in (("always", with_session), ("never", mapped)):
            if chosen:
                pressed = [(task, action) for task in chosen]
                plan.add_day(integration, f"{name}_{optimization}", pressed, optimization=optimization)
        for task in tasks:
            if "." not in task:  # it fails for all providers of the run
                plan.add_day(integration, f"{name}_{task}", [(task, action)], optimization="never")
    cells = [(task, action) for task, action in _optimization_cells() if re.search(wanted, f"{task}, {action}")]
    for (task, action), integration in zip(cells, cycle(OPTIMIZED)):
        plan.add_optimization(integration, f"{action.name.lower()}_{task}", task, action)


def _optimization_cells() -> Iterator[tuple[str, Action]]:
    for action in Action:
        for task in OPTIMIZATION_TASKS:
            yield task, action
