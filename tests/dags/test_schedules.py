"""How often the DAGs look after what others left, and where answers go when nobody said where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from amop import ids, time_limits

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
OFTEN: dict[str, timedelta] = {
    ids.AMOP_RELAY_DAG: timedelta(seconds=45),
    ids.MAINTENANCE_DAG: timedelta(days=1),
    ids.device_sync_dag("jasper"): timedelta(days=1),
}
"""DAG → the longest time between two of its runs."""


@pytest.mark.parametrize("dag_id", OFTEN)
def test_the_next_run_is_never_further_away_than_it_says(airflow_database: Path, dag_id: str) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    dag: Any = DagSerialization.from_dict(DagSerialization.to_dict(DagBag(ROOT / "dags").dags[dag_id]))
    known = None
    starts = []
    for _ in range(3):
        restriction = TimeRestriction(earliest=NOON, latest=None, catchup=True)
        info = dag.timetable.next_dagrun_info(last_automated_data_interval=known, restriction=restriction)
        known = info.data_interval
        starts.append(info.run_after)
    assert [later - earlier for earlier, later in pairwise(starts)] == [OFTEN[dag_id]] * 2


def test_the_watchdog_looks_often_enough_to_keep_watch() -> None:
    assert 2 * OFTEN[ids.AMOP_RELAY_DAG] <= time_limits.WATCHDOG_ABSENCE


def test_without_a_variable_answers_are_archived_in_a_folder_of_airflows_home(
    airflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amop.tasks.connections import archive_folder

    monkeypatch.delenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    folder = archive_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "object").write_text("answer")
    assert (tmp_path / "amop_archive" / "object").read_text() == "answer"
