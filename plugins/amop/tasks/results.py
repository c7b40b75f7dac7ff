"""The result of an earlier task that a task cannot work without: where there is none, a sentence says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.definitions.xcom_arg import PlainXComArg
from airflow.sdk.exceptions import AirflowFailException

from amop.tasks.dag_runs import is_trial


class RequiredResult(PlainXComArg):
    """The result of a task of the same DAG run; Airflow would hand on None where there is none."""

    def __getitem__(self, item: str) -> RequiredResult:
        """Return one named value of the result."""
        return RequiredResult(operator=self.operator, key=item)

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the result.

        Raises:
            AirflowFailException: there is none; the message says why and what to do.
        """
        task = context["ti"]
        needed = self.operator.task_id
        if is_trial(task):
            index = f" --map-index {task.map_index}" if task.map_index >= 0 else ""
            raise AirflowFailException(
                f"A trial of {task.task_id} with a date has nothing to work on: it needs the result of {needed}, which "
                "has not run in it. Give the id of a DAG run that has this result instead of the date; the task then "
                f"works on that run: airflow tasks test {task.dag_id} {task.task_id} RUN_ID{index}"
            )
        found = super().resolve(context)
        if found is None:
            raise AirflowFailException(
                f"{task.task_id} cannot work without the result of {needed}, which has none in this run: it was marked "
                f"as success without its work. Clear {needed} with downstream tasks"
            )
        return found


def required(result: Any) -> Any:
    """Return a task's result as one that the tasks which take it cannot work without.

    Args:
        result: what the call of a task returns in the body of a DAG, or the ``output`` of an operator.
    """
    return RequiredResult(operator=result.operator, key=result.key)
