"""The roles that docs/security.md creates: each may do its work and nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from amop.database.migrations import MigrationError, migrate
from amop.device_sync.sync_log import write_sync_log
from amop.maintenance.status import read_status
from sandbox.carrier.running import running_carrier
from tests.worlds.optimization_world import OptimizationWorld
from tests.worlds.sync_world import SyncWorld

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[3]
CREATE_ROLES, GRANTS = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "security.md").read_text("utf-8"), re.DOTALL)
ROLES = ("owner", "runtime", "reader")


@dataclass(frozen=True)
class Roles:
    """Connection strings of one database, by role of docs/security.md, and of its superuser."""

    owner: str
    runtime: str
    reader: str
    superuser: str


class DocumentedRoles:
    """The roles of docs/security.md under names of their own: tests of other processes have theirs."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.suffix = secrets.token_hex(4)
        self.password = secrets.token_hex(8)

    def dsns(self, database: str) -> Roles:
        """Return the connection strings of a database."""
        plain = self.server.conninfo(database)
        own = {role: make_conninfo(plain, user=self.name(role), password=self.password) for role in ROLES}
        return Roles(**own, superuser=self.server.conninfo(database, user="postgres"))

    def name(self, role: str) -> str:
        """Return the name of a role."""
        return f"amop_{role}_{self.suffix}"

    def of_document(self, text: str, database: str) -> str:
        """Return a text of docs/security.md for these roles and a database."""
        for role in ROLES:
            text = text.replace(f"amop_{role}", self.name(role))
        return text.replace("DATABASE warehouse", f"DATABASE {database}")


def _execute(dsn: str, text: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(text.encode())


@pytest.fixture(scope="module")
def documented(postgres_server: EmbeddedPostgres) -> Iterator[tuple[DocumentedRoles, str]]:
    """Create the roles and a database by the text of docs/security.md; tests get copies of the database."""
    documented = DocumentedRoles(postgres_server)
    database = f"documented_{documented.suffix}"
    postgres_server.create_database(database)
    dsns = documented.dsns(database)
    _execute(dsns.superuser, documented.of_document(CREATE_ROLES, database))
    for role in ROLES:
        password = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(documented.name(role)), sql.Literal(documented.password)
        )
        _execute(dsns.superuser, password.as_string())
    migrate(dsns.owner)
    _execute(dsns.owner, documented.of_document(GRANTS, database))
    yield documented, database
    postgres_server.drop_database(database)
    for role in ROLES:
        _execute(postgres_server.conninfo("postgres", user="postgres"), f"DROP ROLE {documented.name(role)}")


@contextmanager
def _copy(documented: tuple[DocumentedRoles, str]) -> Iterator[Roles]:
    roles, template = documented
    copy = f"{template}_{secrets.token_hex(4)}"
    roles.server.create_database(copy, template=template)
    try:
        yield roles.dsns(copy)
    finally:
        roles.server.drop_database(copy)


@pytest.fixture
def roles(documented: tuple[DocumentedRoles, str]) -> Iterator[Roles]:
    """Connection strings of a fresh migrated warehouse with the documented roles."""
    with _copy(documented) as roles:
        yield roles


@pytest.fixture(scope="module")
def read_only_roles(documented: tuple[DocumentedRoles, str]) -> Iterator[Roles]:
    """The same for tests that change nothing."""
    with _copy(documented) as roles:
        yield roles


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_an_attribute_beyond_logging_in(read_only_roles: Roles, role: str) -> None:
    with psycopg.connect(getattr(read_only_roles, role), row_factory=dict_row) as connection:
        (attributes,) = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchall()
        member_of = connection.execute(
            "SELECT count(*) AS n FROM pg_auth_members WHERE member = current_user::regrole"
        ).fetchone()
    assert not any(attributes.values()) and member_of == {"n": 0}


def test_everything_of_the_package_is_in_schema_amop_and_needs_no_extension(read_only_roles: Roles) -> None:
    with psycopg.connect(read_only_roles.owner) as connection:
        outside = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE relowner = current_user::regrole AND nspname NOT IN ('amop', 'pg_toast')"
        ).fetchall()
        extensions = connection.execute("SELECT extname FROM pg_extension").fetchall()
    assert (outside, extensions) == ([], [("plpgsql",)])


def test_a_whole_day_runs_with_the_documented_grants_only(roles: Roles) -> None:
    with running_carrier(devices_per_account=60, limits_are_enforced=False) as carrier:
        world = SyncWorld(roles.runtime, carrier)
        run = world.sync("monday", optimization="always")
        assert world.sync("tuesday", full_sync=True)["status"] == "complete"
    assert (run["status"], run["devices_inserted"]) == ("complete", 60)
    with write_sync_log(roles.runtime, run["id"]) as path:
        assert len(Path(path).read_text().splitlines()) == 61
    assert len(read_status(roles.runtime).running_sessions) == 1
    assert read_status(roles.reader) == read_status(roles.runtime)


def test_an_optimization_runs_with_the_documented_grants_only(roles: Roles) -> None:
    world = OptimizationWorld(roles.runtime)
    world.add_rate_plan("small", "1", "10")
    world.add_rate_plan("large", "5", "100")
    world.add_communication_plan("both", ["small", "large"])
    world.add_sim("8901000000000000001", "both", "small", 50)
    assert world.optimize()["run_status"] == "complete_with_success"


@pytest.mark.parametrize("role", ["runtime", "reader"])
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE amop.device",
        "TRUNCATE amop.device",
        "ALTER TABLE amop.device ADD COLUMN x int",
        "CREATE TABLE amop.x (x int)",
        "CREATE TABLE public.x (x int)",
        "CREATE SCHEMA x",
        "CREATE ROLE x",
        "DELETE FROM amop.alembic_version",
        "SELECT rolpassword FROM pg_authid",
        "COPY amop.device TO PROGRAM 'true'",
        "COPY amop.device TO '/tmp/x'",
        "CREATE EXTENSION dblink",
        "ALTER SYSTEM SET fsync = off",
    ],
)
def test_the_other_roles_may_do_nothing_else(read_only_roles: Roles, role: str, statement: str) -> None:
    _is_refused(getattr(read_only_roles, role), statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE amop.device SET is_active = false",
        "DELETE FROM amop.device",
        "INSERT INTO amop.watchdog DEFAULT VALUES",
        "SELECT nextval('amop.device_id_seq')",
    ],
)
def test_the_reader_may_write_nothing(read_only_roles: Roles, statement: str) -> None:
    _is_refused(read_only_roles.reader, statement)


@pytest.mark.parametrize("statement", ["CREATE SCHEMA x", "CREATE TABLE public.x (x int)", "DROP SCHEMA public"])
def test_the_owner_may_do_nothing_outside_its_schema(read_only_roles: Roles, statement: str) -> None:
    _is_refused(read_only_roles.owner, statement)


def _is_refused(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.encode())
    # 42501 insufficient_privilege; 0A000 the extension's files are not there to begin with
    assert refused.value.sqlstate in {"42501", "0A000", "58P01"}


def test_the_tables_of_a_later_migration_are_usable_too(roles: Roles) -> None:
    _execute(roles.owner, "CREATE TABLE amop.later (id bigint GENERATED ALWAYS AS IDENTITY)")
    _execute(roles.runtime, "INSERT INTO amop.later DEFAULT VALUES")
    with psycopg.connect(roles.reader) as connection:
        assert connection.execute("SELECT count(*) FROM amop.later").fetchone() == (1,)


def _drop_schema(roles: Roles) -> str:
    _execute(roles.superuser, "DROP SCHEMA amop CASCADE")
    return roles.owner


def _take_schema(roles: Roles) -> str:
    _execute(roles.superuser, "DROP SCHEMA amop CASCADE; CREATE SCHEMA amop")
    return roles.owner


def _take_connect(roles: Roles) -> str:
    database = conninfo_to_dict(roles.owner)["dbname"]
    _execute(roles.superuser, f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    return roles.owner


def _migrate_as_runtime(roles: Roles) -> str:
    _execute(roles.superuser, f"GRANT CREATE ON SCHEMA amop TO {conninfo_to_dict(roles.runtime)['user']}")
    return roles.runtime


@pytest.mark.parametrize(
    ("break_grant", "missing"),
    [
        (_drop_schema, r"has no schema amop, and role \S+ lacks CREATE on the database"),
        (_take_schema, r"role \S+ lacks USAGE or CREATE on schema amop"),
        (_take_connect, r"role \S+ lacks CONNECT on database"),
        (_migrate_as_runtime, r"belong to role \S+, which role \S+ is no member of"),
    ],
)
def test_a_missing_grant_is_named_with_the_command_that_gives_it(
    roles: Roles, break_grant: Callable[[Roles], str], missing: str
) -> None:
    dsn = break_grant(roles)
    with pytest.raises(MigrationError, match=missing) as caught:
        migrate(dsn)
    command = str(caught.value).partition(" run: ")[2]
    _execute(roles.superuser, command)
    migrate(dsn)
    if command.startswith("GRANT") and " ON " not in command:
        _execute(roles.superuser, command.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))


def test_migrate_leaves_a_migrated_warehouse_of_its_owner_alone(read_only_roles: Roles) -> None:
    assert migrate(read_only_roles.owner) == []
