"""Days of a provider, undisturbed and with kills, begun at any part of the day; for tests.

The day is the real chain: the DAG run of `device_sync_jasper`, the run of `carrier_optimization_jasper` that it
triggers, with plan changes applied, and a run of `maintenance` months later. A test may begin at any part of it, from a
copy of what an undisturbed day had left there.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sandbox.amop.running import running_amop
from sandbox.carrier.running import running_carrier
from tests.worlds.kill_day import NOW, Aws, Day, Outcome, Step
from tests.worlds.kill_points import KillPoint
from tests.worlds.moments import machine_time, set_database_clock
from tests.worlds.sandbox_reference import load_sandbox_reference

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

DATABASE_NOW = NOW - timedelta(days=1)
"""Start of the database's clock. It runs while `NOW` is fixed, and no time of the day may lie in its future."""
INPUTS_ARE_READ_AT_THE_MOMENT = f"""
CREATE FUNCTION amop.test_inputs_read_at() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.inputs_read_at := '{NOW.isoformat()}'; RETURN NEW; END $$;
CREATE TRIGGER test_inputs_read_at BEFORE UPDATE OF inputs_read_at ON amop.optimization_instance
FOR EACH ROW EXECUTE FUNCTION amop.test_inputs_read_at()
"""
"""The database's clock gives this moment, a day before the list of the same day was merged, and no list would count."""
SIMS = 110
"""Three pages of the device list."""
ROOT = Path(__file__).resolve().parents[2]
AIRFLOW_DATABASE = "airflow.db"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a day may begin."""

    database: str
    airflow_database: Path
    amop_record: Path | None


class KillWorld:
    """Runs days, disturbed and undisturbed.

    Args:
        server: of the warehouses.
        folder: for files.
        airflow_database: a migrated metadata database, which is copied.
        aws: address of the AWS emulator.
    """

    def __init__(self, server: EmbeddedPostgres, folder: Path, airflow_database: Path, aws: str) -> None:
        self._server = server
        self._folder = folder
        self._aws = Aws(aws)
        self._context = _forked_from_prepared_process(folder, airflow_database)
        self._databases: list[str] = []
        self._undisturbed: dict[Step, Outcome] = {}
        self._morning = Snapshot(self._new_database("amop_template"), folder / "airflow-morning.db", None)
        _furnish(server.conninfo(self._morning.database))
        _copy_database(folder / AIRFLOW_DATABASE, self._morning.airflow_database)
        self._snapshots = {Step.SYNC: self._morning}
        self._undisturbed_day: Outcome | None = None

    def undisturbed(self, begin: Step) -> Outcome:
        """Return what the DAG run of a part leaves when nothing disturbs it, run from where the part begins."""
        self._snapshot_of(begin)
        if begin not in self._undisturbed:
            self._undisturbed[begin] = self.run(begin)
        return self._undisturbed[begin]

    def undisturbed_day(self) -> Outcome:
        """Return what sync and optimization leave together."""
        self._snapshot_of(Step.MAINTENANCE)
        assert self._undisturbed_day is not None
        return self._undisturbed_day

    def run(self, begin: Step, *dies_at: KillPoint) -> Outcome:
        """Run a part and the rest of its DAG run, killed at the points one after another; return what it leaves."""
        with self._opened(self._snapshot_of(begin)) as day:
            day.run(begin, dies_at)
            day.relay()
            return day.outcome()

    def run_day(self, points: Mapping[Step, Sequence[KillPoint]]) -> Outcome:
        """Run sync and optimization to their end, killed at the points one after another; return what they leave."""
        with self._opened(self._morning) as day:
            day.run(Step.SYNC, (*points[Step.SYNC], *points[Step.CLEANUP]))
            day.run(Step.OPTIMIZATION, (*points[Step.OPTIMIZATION], *points[Step.CHANGES]))
            day.relay()
            return day.outcome()

    def _snapshot_of(self, step: Step) -> Snapshot:
        """Return where a part begins; an undisturbed day, run when the first part is asked for, has come by there."""
        if self._undisturbed_day is None:
            with self._opened(self._morning) as day:
                day.run(Step.SYNC, stops_before=Step.CLEANUP)
                self._snapshots[Step.CLEANUP] = self._copy(day)
                day.run(Step.CLEANUP)
                self._undisturbed[Step.SYNC] = day.outcome()
                self._snapshots[Step.OPTIMIZATION] = self._copy(day)
                day.run(Step.OPTIMIZATION, stops_before=Step.CHANGES)
                self._snapshots[Step.CHANGES] = self._copy(day)
                day.run(Step.CHANGES)
                self._undisturbed_day = day.outcome()
                self._snapshots[Step.MAINTENANCE] = self._copy(day)
        return self._snapshots[step]

    def _copy(self, day: Day) -> Snapshot:
        name = secrets.token_hex(6)
        record = self._folder / f"amop-{name}.jsonl"
        shutil.copyfile(day.amop_record, record)
        airflow_database = self._folder / f"airflow-{name}.db"
        _copy_database(day.airflow_database, airflow_database)
        return Snapshot(self._new_database(day.database), airflow_database, record)

    @contextmanager
    def _opened(self, begin: Snapshot) -> Iterator[Day]:
        folder = self._folder / secrets.token_hex(6)
        folder.mkdir()
        record = folder / "amop.jsonl"
        if begin.amop_record is not None:
            shutil.copyfile(begin.amop_record, record)
        database = self._new_database(begin.database)
        _copy_database(begin.airflow_database, self._folder / AIRFLOW_DATABASE)
        self._aws.empty()
        with (
            running_carrier(
                devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False, as_of=NOW
            ) as carrier,
            running_amop(record_file=record) as amop,
        ):
            dsn, airflow_database = self._server.conninfo(database), self._folder / AIRFLOW_DATABASE
            yield Day(dsn, carrier, amop, self._aws, airflow_database, folder, self._context)
        self._server.drop_database(database)

    def _new_database(self, template: str) -> str:
        name = f"kill_{secrets.token_hex(6)}"
        self._server.create_database(name, template=template)
        set_database_clock(self._server.conninfo(name, user="postgres"), ahead=DATABASE_NOW - machine_time())
        self._databases.append(name)
        return name

    def close(self) -> None:
        """Remove the databases."""
        for name in self._databases:
            self._server.drop_database(name)


def _forked_from_prepared_process(folder: Path, airflow_database: Path) -> Any:
    """Return a multiprocessing context whose processes fork from one that imported `tests.worlds.task_process`.

    They all use the metadata database ``folder / AIRFLOW_DATABASE``, in which the DAGs are serialized now.
    """
    shutil.copyfile(airflow_database, folder / AIRFLOW_DATABASE)
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", f"{ROOT / 'plugins'}{os.pathsep}{ROOT}")
        environment.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{folder / AIRFLOW_DATABASE}")
        context.set_forkserver_preload(["pytest", "tests.worlds.task_process"])
        first = context.Process(target=os.getpid)
        first.start()
        first.join()
    assert first.exitcode == 0
    return context


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database with what is still in its write-ahead log."""
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    with sqlite3.connect(source) as connection, sqlite3.connect(target) as copy:
        connection.backup(copy)


def _furnish(dsn: str) -> None:
    """Load the reference data; let plan changes be applied without asking, and keep single calls few."""
    load_sandbox_reference(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE amop.service_provider SET write_is_enabled = true, can_auto_update_rate_plans = true,"
            " detail_calls_per_run = 4, maximum_changes = 5"
        )
        connection.execute(INPUTS_ARE_READ_AT_THE_MOMENT)
