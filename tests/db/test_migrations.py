"""Migrations: from nothing to the newest schema, once, by an ordinary role, also twice at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from amop.config import INTEGRATIONS
from amop.warehouse import migrations
from amop.warehouse.connection import connect
from amop.warehouse.migrations import MigrationError, migrate
from amop.warehouse.sql import sql_directory

FILES = sorted(path.stem for path in (sql_directory() / "migrations").glob("*.sql"))


def _write(directory: Path, name: str, text: str) -> None:
    (directory / "migrations").mkdir(exist_ok=True)
    (directory / "migrations" / name).write_text(text, encoding="utf-8")


def _tables(conninfo: str, schema: str) -> set[str]:
    with connect(conninfo) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s", {"schema": schema})
        return {row["tablename"] for row in rows}


def test_every_file_is_applied_once_and_in_order(empty_database_dsn: str) -> None:
    assert migrate(empty_database_dsn) == FILES
    assert FILES[:2] == ["0000.schema", "0001.reference"]


def test_second_call_applies_nothing(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    assert migrate(empty_database_dsn) == []


def test_everything_including_the_ledger_lives_in_schema_amop(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    assert _tables(empty_database_dsn, "public") == set()
    tables = _tables(empty_database_dsn, "amop")
    assert {"tenant", "service_provider", "device", "amop_outbox", "_yoyo_migration"} <= tables


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
    with connect(empty_database_dsn) as connection:
        ledger = connection.execute("SELECT migration_id FROM amop._yoyo_migration ORDER BY migration_id").fetchall()
    assert [row["migration_id"] for row in ledger] == FILES


def test_integrations_are_those_of_the_registry(warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as connection:
        rows = connection.execute(
            "SELECT name, display_name, family, portal_type_id, daily_sync_key, supports_optimization "
            "FROM amop.integration"
        ).fetchall()
    fields = ("name", "display_name", "family", "portal_type_id", "daily_sync_key", "supports_optimization")
    of_registry = [{field: getattr(integration, field) for field in fields} for integration in INTEGRATIONS.values()]
    assert sorted(rows, key=lambda row: row["name"]) == sorted(of_registry, key=lambda row: row["name"])


def test_a_failing_migration_leaves_nothing_of_itself_and_is_named(
    empty_database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "0000.schema.sql", "CREATE SCHEMA IF NOT EXISTS amop;")
    _write(tmp_path, "0001.good.sql", "CREATE TABLE amop.good (id int);")
    _write(tmp_path, "0002.bad.sql", "CREATE TABLE amop.half (id int);\nSELECT 1 / 0;")
    _use_files_of(tmp_path, monkeypatch)
    with pytest.raises(MigrationError, match=r"0002\.bad\.sql failed: division by zero"):
        migrate(empty_database_dsn)
    assert {"good", "half"} & _tables(empty_database_dsn, "amop") == {"good"}

    _write(tmp_path, "0002.bad.sql", "CREATE TABLE amop.half (id int);")
    assert migrate(empty_database_dsn) == ["0002.bad"]


def test_a_migration_whose_process_died_before_its_ledger_row_is_applied_again(
    empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migrations._WarehouseBackend, "mark_one", die)
        with pytest.raises(KeyboardInterrupt):
            migrate(empty_database_dsn)
    assert "tenant" not in _tables(empty_database_dsn, "amop")
    assert migrate(empty_database_dsn) == FILES


def test_a_lock_row_that_a_killed_process_left_does_not_block(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    with connect(empty_database_dsn) as connection:
        connection.execute("INSERT INTO amop.yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrate(empty_database_dsn) == []


def test_a_folder_without_migrations_is_an_error(empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "read_migrations", lambda _: [])
    with pytest.raises(MigrationError, match="there are no migrations in"):
        migrate(empty_database_dsn)


def test_a_wrong_password_is_refused_without_being_printed(empty_database_dsn: str) -> None:
    parts = {**conninfo_to_dict(empty_database_dsn), "password": "canary-p@ss word"}
    with pytest.raises(psycopg.OperationalError) as caught:
        migrate(psycopg.conninfo.make_conninfo(**parts))
    assert "canary" not in str(caught.value)


def _use_files_of(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the migrations from a folder of the test; everything else from the real one."""
    real = migrations.read_migrations
    monkeypatch.setattr(migrations, "read_migrations", lambda _: real(str(directory / "migrations")))
