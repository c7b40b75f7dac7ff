"""The list of the DAGs for the documentation, made from the DAGs themselves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEADER = """# The DAGs

Made by `make docs` from the DAGs themselves; a test compares it with them.
"""


def dag_list_markdown() -> str:
    """Return the Markdown list of every DAG: schedule, tasks in order, parameters.

    Raises:
        RuntimeError: a DAG file cannot be imported.
    """
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(ROOT / "dags", collect_dags=True)
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    return HEADER + "".join(_section(bag.dags[dag_id]) for dag_id in sorted(bag.dags))


def _section(dag: Any) -> str:
    lines = [f"\n## `{dag.dag_id}`\n", f"{dag.description}\n"]
    lines.append(
        f"Schedule: {_schedule(dag.schedule)} · tags: {', '.join(sorted(dag.tags))} · "
        f"at most {dag.max_active_runs} at once\n"
    )
    lines.append("| task | follows | what it does |\n|---|---|---|")
    for task in dag.topological_sort():
        # A mapped task also follows the task that its group is mapped over: told only for the first of a group.
        names = sorted(task.upstream_task_ids - {"select_providers"}) or sorted(task.upstream_task_ids)
        follows = ", ".join(f"`{name}`" for name in names) or "–"
        what = " ".join((task.doc_md or "").split()).partition(". ")[0]
        lines.append(f"| `{task.task_id}` | {follows} | {what} |")
    if dag.params:
        lines += ["", "| parameter | default | meaning |", "|---|---|---|"]
        for name in dag.params:
            shown = dag.params.get_param(name)
            lines.append(f"| `{name}` | {_default(shown)} | {shown.description or ''} |")
    return "\n".join(lines) + "\n"


def _default(param: Any) -> str:
    if param.has_value:
        return f"`{param.value!r}`"
    return "empty" if "null" in param.schema.get("type", ()) else "required"


def _schedule(schedule: Any) -> str:
    from airflow.sdk import AssetAny, AssetOrTimeSchedule

    if schedule is None:
        return "none, it is triggered"
    if isinstance(schedule, AssetOrTimeSchedule):
        return f"{_schedule(schedule.timetable)}, and {_schedule(schedule.asset_condition)}"
    if isinstance(schedule, AssetAny):
        return f"whenever one of the assets {', '.join(f'`{asset.name}`' for asset in schedule.objects)} is updated"
    return f"every {schedule}" if isinstance(schedule, timedelta) else f"`{schedule.expression}` UTC"
