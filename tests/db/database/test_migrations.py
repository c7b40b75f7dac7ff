"""Migrations: from nothing to the newest schema, once, by an ordinary role, also several at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.runtime.migration import HeadMaintainer
from psycopg.conninfo import make_conninfo

from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import connect
from amop.database.migrations import MigrationError, migrate
from amop.database.sql import sql_directory

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path.stem for path in (sql_directory() / "migrations").glob("*.sql"))

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a migration; only those that the test has written are there."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "database").symlink_to(sql_directory() / "database")
    monkeypatch.setenv("AMOP_SQL_DIRECTORY", str(tmp_path))

    def write_file(name: str, text: str) -> None:
        (tmp_path / "migrations" / f"{name}.sql").write_text(text, encoding="utf-8")

    return write_file


def _tables(conninfo: str, schema: str = "amop") -> set[str]:
    with connect(conninfo) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s", {"schema": schema})
        return {row["tablename"] for row in rows}


def _ledger(conninfo: str) -> list[str]:
    with connect(conninfo) as connection:
        return [row["version_num"] for row in connection.execute("SELECT version_num FROM amop.alembic_version")]


def test_every_file_is_applied_once_and_in_order(empty_database_dsn: str) -> None:
    assert migrate(empty_database_dsn) == FILES
    assert FILES[:2] == ["0001_reference", "0002_runs_and_messages"]
    assert _ledger(empty_database_dsn) == FILES[-1:]


def test_second_call_applies_nothing(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    assert migrate(empty_database_dsn) == []


def test_a_later_file_is_applied_to_a_migrated_database(empty_database_dsn: str, write: Write) -> None:
    write("0001_first", "CREATE TABLE amop.first (id int);")
    assert migrate(empty_database_dsn) == ["0001_first"]
    write("0002_second", "CREATE TABLE amop.second (id int); INSERT INTO amop.second VALUES (100 % 7);")
    assert migrate(empty_database_dsn) == ["0002_second"]
    assert _tables(empty_database_dsn) == {"alembic_version", "first", "second"}


def test_everything_including_the_ledger_lives_in_schema_amop(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    assert _tables(empty_database_dsn, "public") == set()
    tables = _tables(empty_database_dsn)
    assert {"tenant", "service_provider", "device", "amop_outbox", "alembic_version"} <= tables


def test_the_role_that_migrates_is_no_superuser(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    with connect(empty_database_dsn) as connection:
        role = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert role == {"rolsuper": False, "rolcreatedb": False, "rolcreaterole": False}


def test_four_calls_at_once_apply_every_file_once(empty_database_dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [empty_database_dsn] * 4))
    assert sorted(applied, key=len) == [[], [], [], FILES]
    assert _ledger(empty_database_dsn) == FILES[-1:]


def test_every_table_is_described(warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'amop'::regnamespace AND relkind IN ('r', 'v')"
            " AND obj_description(oid) IS NULL"
        ).fetchall()
    assert [row["relname"] for row in rows] == ["alembic_version"]


def test_integrations_are_those_of_the_registry(warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as connection:
        rows = connection.execute(
            "SELECT name, display_name, family, portal_type_id, daily_sync_key, supports_optimization "
            "FROM amop.integration"
        ).fetchall()
    fields = ("name", "display_name", "family", "portal_type_id", "daily_sync_key", "supports_optimization")
    of_registry = [
        {field: getattr(integration, field) for field in fields} for integration in KNOWN_INTEGRATIONS.values()
    ]
    assert sorted(rows, key=lambda row: row["name"]) == sorted(of_registry, key=lambda row: row["name"])


def test_a_failing_migration_leaves_nothing_of_itself_and_is_named(empty_database_dsn: str, write: Write) -> None:
    write("0001_good", "CREATE TABLE amop.good (id int);")
    write("0002_bad", "CREATE TABLE amop.half (id int);\nSELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"0002_bad\.sql failed: division by zero"):
        migrate(empty_database_dsn)
    assert {"good", "half"} & _tables(empty_database_dsn) == {"good"}
    assert _ledger(empty_database_dsn) == ["0001_good"]

    write("0002_bad", "CREATE TABLE amop.half (id int);")
    assert migrate(empty_database_dsn) == ["0002_bad"]


def test_a_migration_interrupted_before_its_ledger_row_is_applied_again(
    empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeadMaintainer, "update_to_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            migrate(empty_database_dsn)
    assert _tables(empty_database_dsn) == set()
    assert migrate(empty_database_dsn) == FILES


def test_a_ledger_that_cannot_be_written_undoes_the_migration(empty_database_dsn: str, write: Write) -> None:
    write("0001_first", "CREATE TABLE amop.first (id int);")
    migrate(empty_database_dsn)
    with connect(empty_database_dsn) as connection:
        connection.execute("ALTER TABLE amop.alembic_version ADD CHECK (version_num = '0001_first')")
    write("0002_second", "CREATE TABLE amop.second (id int);")
    with pytest.raises(MigrationError, match=r"ledger amop\.alembic_version failed: .*violates check constraint"):
        migrate(empty_database_dsn)
    assert "second" not in _tables(empty_database_dsn)


def test_a_killed_process_leaves_nothing_and_does_not_block(
    empty_database_dsn: str, write: Write, tmp_path: Path
) -> None:
    write("0001_slow", "CREATE TABLE amop.half (id int);\nSELECT pg_sleep(3);")
    script = "import sys; from amop.database.migrations import migrate; migrate(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
    process = subprocess.Popen([sys.executable, "-c", script, empty_database_dsn], env=environment)
    with connect(empty_database_dsn, autocommit=True) as connection:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name = 'amop migrate'"
        for _ in range(1200):
            if connection.execute(waiting).fetchone():
                break
            assert process.poll() is None
            time.sleep(0.05)
        else:
            pytest.fail("the process does not migrate")
    process.send_signal(signal.SIGKILL)
    process.wait()
    write("0001_slow", "CREATE TABLE amop.whole (id int);")
    assert migrate(empty_database_dsn) == ["0001_slow"]
    assert _tables(empty_database_dsn) == {"alembic_version", "whole"}


def test_a_database_of_a_newer_version_is_left_alone(empty_database_dsn: str, write: Write) -> None:
    write("0001_first", "CREATE TABLE amop.first (id int);")
    migrate(empty_database_dsn)
    with connect(empty_database_dsn) as connection:
        connection.execute("UPDATE amop.alembic_version SET version_num = '0099_later'")
    with pytest.raises(MigrationError, match=r"is at migration 0099_later, .*install that version"):
        migrate(empty_database_dsn)


def test_a_database_of_version_0_1_is_left_alone(empty_database_dsn: str) -> None:
    with connect(empty_database_dsn) as connection:
        connection.execute("CREATE SCHEMA amop")
        connection.execute("CREATE TABLE amop._yoyo_migration (migration_id text)")
    with pytest.raises(MigrationError, match=r"created by version 0\.1 .*DROP SCHEMA amop CASCADE"):
        migrate(empty_database_dsn)
    assert _tables(empty_database_dsn) == {"_yoyo_migration"}


def test_a_folder_without_migrations_is_an_error(empty_database_dsn: str, write: Write) -> None:
    with pytest.raises(MigrationError, match="there are no migrations in"):
        migrate(empty_database_dsn)


def test_a_wrong_password_is_refused_without_being_printed(empty_database_dsn: str) -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        migrate(make_conninfo(empty_database_dsn, password="canary-p@ss word"))
    assert "canary" not in str(caught.value)
