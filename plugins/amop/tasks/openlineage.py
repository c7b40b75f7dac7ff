"""OpenLineage: the inlets and outlets of each task, with their row counts, as inputs and outputs of its events.

Airflow's OpenLineage provider maps an asset to a dataset only if its URI is that of a database or a bucket, and it
reads no row counts of assets. This extractor does both for the assets of `amop.tasks.lineage`. It needs the extra
``openlineage`` and is switched on by a setting (docs/deploy.md)::

    AIRFLOW__OPENLINEAGE__EXTRACTORS=amop.tasks.openlineage.LineageExtractor
"""

from __future__ import annotations

from typing import Any

from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from airflow.providers.openlineage.plugins.macros import lineage_job_namespace
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import input_statistics_input_dataset, output_statistics_output_dataset

from amop.tasks import lineage


class LineageExtractor(BaseExtractor):
    """Names the assets that a task reads and writes, and how many rows; a dataset's name is that of its asset.

    Datasets are in the namespace of the jobs, setting ``[openlineage] namespace``: two installations stay apart. Tasks
    of other packages are left to the provider: for them this returns nothing, and it goes on as without it.
    """

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the classes of the tasks between the device list and the plan changes."""
        return [
            "_PythonDecoratedOperator",
            "_BranchPythonDecoratedOperator",
            "_ShortCircuitDecoratedOperator",
            "PlanChangeApproval",
            "WriteWorkbookOperator",
        ]

    def _execute_extraction(self) -> OperatorLineage:
        return self._lineage(lineage.Recorded())

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return the datasets of a task that has ended, with the rows that it has recorded."""
        return self._lineage(lineage.recorded(task_instance.get_template_context()))

    def _lineage(self, rows: lineage.Recorded) -> OperatorLineage:
        namespace = lineage_job_namespace()
        return OperatorLineage(
            inputs=[
                InputDataset(namespace, name, inputFacets=_read(rows.read if place == 0 else None))
                for place, name in enumerate(lineage.dataset_names(self.operator.inlets, rows.integration))
            ],
            outputs=[
                OutputDataset(namespace, name, outputFacets=_written(rows.written))
                for name in lineage.dataset_names(self.operator.outlets, rows.integration)
            ],
        )


def _read(rows: int | None) -> dict[str, Any]:
    if rows is None:
        return {}
    return {"inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=rows)}


def _written(rows: int | None) -> dict[str, Any]:
    if rows is None:
        return {}
    return {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)}
