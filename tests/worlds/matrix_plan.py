"""Which DAG runs play which cells: the whole matrix, and the covering subset of the end-to-end tests."""

from __future__ import annotations

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
OPTIMIZED = ("jasper", "rogers")
"""Integrations of the cells of the optimization."""
UNDISTURBED = "undisturbed"

COVERING_DAYS: tuple[tuple[str, str, tuple[tuple[str, Action], ...]], ...] = (
    (
        "jasper",
        "always",
        (
            ("cleanup.should_optimize", Action.CLEAR_FAILED),
            ("cleanup.trigger_optimization", Action.CLEAR_FAILED),
        ),
    ),
    (
        "rogers",
        "never",
        (
            ("sync.queue_sync", Action.CLEAR_RUN),
            ("sync.publish_notification", Action.CLEAR_RUN),
            ("cleanup.merge_devices", Action.CLEAR_RUN),
            ("cleanup.notify_amop", Action.CLEAR_RUN),
        ),
    ),
    (
        "pod19",
        "never",
        (
            ("sync.fetch_devices", Action.CLEAR_DOWNSTREAM),
            ("sync.archive_pages", Action.CLEAR),
            ("cleanup.merge_usage", Action.CLEAR_DOWNSTREAM),
            ("cleanup.update_communication_plans", Action.CLEAR_DOWNSTREAM),
        ),
    ),
    (
        "tmobile_jasper",
        "never",
        (
            ("sync.fetch_usage", Action.CLEAR_DOWNSTREAM),
            ("cleanup.wait_for_staging", Action.MARK_SUCCESS),
            ("cleanup.check_quality", Action.CLEAR),
            ("cleanup.publish_summary", Action.MARK_SUCCESS),
        ),
    ),
    ("rogers", "never", (("select_providers", Action.DELETE_RUN),)),
)
"""Integration, param ``optimization``, and the tasks that fail, of each day of the covering subset."""

COVERING_OPTIMIZATIONS: dict[str, Action] = {
    "open_instance": Action.CLEAR_DOWNSTREAM,
    "group_communication_plans": Action.CLEAR_FAILED,
    "validate_groups": Action.CLEAR_RUN,
    "project_usage": Action.MARK_FAILED,
    "assign_base": Action.DELETE_RUN,
    "solve": Action.MARK_SUCCESS,
    "write_results": Action.CLEAR,
    "write_workbook": Action.CLEAR,
    "publish_report": Action.CLEAR_FAILED,
    "mail_report": Action.MARK_SUCCESS,
    "plan_changes": Action.CLEAR_DOWNSTREAM,
    "approve_changes": Action.CLEAR_RUN,
    "record_approval": Action.CLEAR_FAILED,
    "apply_changes": Action.CLEAR_FAILED,
    "verify_changes": Action.MARK_SUCCESS,
}
"""Task of the optimization → what is pressed, in the covering subset."""


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
        return [cell.provider for group in self.groups for cell in group.cells]

    def add_undisturbed(self) -> None:
        """Add an undisturbed run of every DAG, first: the others are compared with it."""
        days, optimizations = self.daily, self.optimizations
        self.daily, self.optimizations = [], []
        for integration, optimization in sorted({(_integration(day), day.conf["optimization"]) for day in days}):
            self.add_day(integration, f"{UNDISTURBED}_{integration}", [], optimization=optimization)
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

    def add_optimization(self, integration: str, name: str, task: str | None, action: Action | None) -> None:
        """Add a run of an optimization DAG."""
        provider = self.provider(integration, applies_changes=True)
        cell = Cell(provider, task, OPTIMIZATION_TASKS[task] if task else "", action)
        dag_id = ids.carrier_optimization_dag(integration)
        conf: dict[str, Any] = {"service_provider_id": provider.id}
        self.optimizations.append(Group(dag_id, f"{RUN_PREFIX}{name}", [cell], conf, OPTIMIZATION_TABLES))


def _integration(group: Group) -> str:
    return group.cells[0].provider.integration


def covering_subset(plan: Plan) -> None:
    """Add every task at least once and every action at least once: what the end-to-end tests play."""
    for integration, optimization, pressed in COVERING_DAYS:
        plan.add_day(integration, f"covering_{integration}_{len(plan.daily)}", pressed, optimization=optimization)
    for (task, action), integration in zip(COVERING_OPTIMIZATIONS.items(), cycle(OPTIMIZED)):
        plan.add_optimization(integration, f"covering_{task}", task, action)


def whole_matrix(plan: Plan, wanted: str = "") -> None:
    """Add every task with every action, or those whose name has a text."""
    for action, integration in zip(Action, cycle(INTEGRATIONS)):
        tasks = [task for task in DAILY_TASKS if wanted in f"{task}, {action}"]
        name = f"{action.name.lower()}_{integration}"
        if mapped := [(task, action) for task in tasks if "." in task]:
            plan.add_day(integration, name, mapped)
        for task in tasks:
            if "." not in task:  # it fails for all providers of the run
                plan.add_day(integration, f"{name}_{task}", [(task, action)])
    cells = [(task, action) for task, action in _optimization_cells() if wanted in f"{task}, {action}"]
    for (task, action), integration in zip(cells, cycle(OPTIMIZED)):
        plan.add_optimization(integration, f"{action.name.lower()}_{task}", task, action)


def _optimization_cells() -> Iterator[tuple[str, Action]]:
    for action in Action:
        for task in OPTIMIZATION_TASKS:
            yield task, action
