"""What the warehouse's roles may do: as little as docs/security.md says, and that is enough for a whole day."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from amop.pipeline.sync_log import write_sync_log
from amop.warehouse.status import read_status
from sandbox.carrier import running_carrier
from tests.optimization_world import OptimizationWorld
from tests.sync_world import SyncWorld

if TYPE_CHECKING:
    from sandbox.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
GRANTS = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("```sql\n")[2].partition("```")[0]


@pytest.fixture
def runtime_dsn(warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Connection string of a role that has only the grants of docs/security.md."""
    role, password = f"runtime_{secrets.token_hex(4)}", secrets.token_hex(8)
    superuser = postgres_server.conninfo(str(conninfo_to_dict(warehouse_dsn)["dbname"]), user="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
        )
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(GRANTS.replace("amop_runtime", role))  # type: ignore[arg-type]
    yield make_conninfo(warehouse_dsn, user=role, password=password)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_neither_role_has_any_attribute_beyond_logging_in(warehouse_dsn: str, runtime_dsn: str) -> None:
    for dsn in (warehouse_dsn, runtime_dsn):
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            (role,) = connection.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
                "WHERE rolname = current_user"
            ).fetchall()
            member_of = connection.execute(
                "SELECT count(*) AS n FROM pg_auth_members WHERE member = current_user::regrole"
            ).fetchone()
        assert not any(role.values()) and member_of == {"n": 0}


def test_everything_of_the_package_is_in_schema_amop_and_needs_no_extension(warehouse_dsn: str) -> None:
    with psycopg.connect(warehouse_dsn) as connection:
        outside = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE relowner = current_user::regrole AND nspname NOT IN ('amop', 'pg_toast')"
        ).fetchall()
        extensions = connection.execute("SELECT extname FROM pg_extension").fetchall()
    assert (outside, extensions) == ([], [("plpgsql",)])


def test_a_whole_day_runs_with_the_documented_grants_only(warehouse_dsn: str, runtime_dsn: str, tmp_path: Path) -> None:
    with running_carrier(devices_per_account=60, limits_are_enforced=False) as carrier:
        world = SyncWorld(runtime_dsn, carrier, tmp_path)
        run = world.sync("monday", optimization="always")
        assert world.sync("tuesday", full_sync=True)["status"] == "complete"
    assert (run["status"], run["devices_inserted"]) == ("complete", 60)
    with write_sync_log(runtime_dsn, run["id"]) as path:
        assert len(Path(path).read_text().splitlines()) == 61
    assert len(read_status(runtime_dsn)["running_sessions"]) == 1


def test_an_optimization_runs_with_the_documented_grants_only(runtime_dsn: str) -> None:
    world = OptimizationWorld(runtime_dsn)
    world.add_rate_plan("small", "1", "10")
    world.add_rate_plan("large", "5", "100")
    world.add_communication_plan("both", ["small", "large"])
    world.add_sim("8901000000000000001", "both", "small", 50)
    assert world.optimize()["run_status"] == "complete_with_success"


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE amop.device", "TRUNCATE amop.device", "ALTER TABLE amop.device ADD COLUMN x int",
        "CREATE TABLE amop.x (x int)", "CREATE TABLE public.x (x int)", "CREATE SCHEMA x", "CREATE ROLE x",
        "DELETE FROM amop._yoyo_migration", "SELECT rolpassword FROM pg_authid", "COPY amop.device TO PROGRAM 'true'",
        "COPY amop.device TO '/tmp/x'", "CREATE EXTENSION dblink", "ALTER SYSTEM SET fsync = off",
    ],
)  # fmt: skip
def test_the_runtime_role_may_do_nothing_else(runtime_dsn: str, statement: str) -> None:
    with psycopg.connect(runtime_dsn, autocommit=True) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(statement)  # type: ignore[arg-type]
    # 42501 insufficient_privilege; 0A000 the extension's files are not there to begin with
    assert refused.value.sqlstate in {"42501", "0A000", "58P01"}


def test_the_tables_of_a_later_migration_are_readable_too(warehouse_dsn: str, runtime_dsn: str) -> None:
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("CREATE TABLE amop.later (id bigint GENERATED ALWAYS AS IDENTITY)")
    with psycopg.connect(runtime_dsn) as connection:
        connection.execute("INSERT INTO amop.later DEFAULT VALUES")
        assert connection.execute("SELECT count(*) FROM amop.later").fetchone() == (1,)
