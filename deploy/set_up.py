"""Migrate both databases and create pools, users and roles: the service ``set-up`` of ``docker-compose.yaml``.

It may be repeated, and runs before every start: what a killed run has left undone is done by the next one, and what an
operator has changed since (slots of a pool, passwords, rights of a role) is left alone. Airflow's own commands do the
work, in this process: no command line shows a password.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow.cli import cli_parser

from amop import ids

PACKAGE = Path(__file__).resolve().parents[1]
SECRETS = Path(os.environ.get("SECRETS_DIRECTORY", "/run/secrets"))
POOLS = PACKAGE / "include" / "airflow" / "pools.json"
ROLES = PACKAGE / "include" / "airflow" / "roles.json"
ADMIN = "admin"


def airflow(*arguments: str) -> None:
    """Run a command of Airflow's command line.

    Raises:
        SystemExit: the command failed.
    """
    command = cli_parser.get_parser().parse_args(arguments)
    command.func(command)


def create_missing_pools() -> None:
    """Create the pools that Airflow does not have; the slots of the others are the operator's."""
    with tempfile.TemporaryDirectory() as folder:
        known, missing = Path(folder, "known.json"), Path(folder, "missing.json")
        airflow("pools", "export", str(known))
        pools = json.loads(POOLS.read_text())
        absent = {name: pools[name] for name in pools.keys() - json.loads(known.read_text()).keys()}
        if absent:
            missing.write_text(json.dumps(absent))
            airflow("pools", "import", str(missing))


def create_starter() -> None:
    """Create the role that may start runs, then its user; nothing where there is that user.

    FAB commits a role right by right, and ``roles import`` passes over a role that exists: a killed import would leave
    a part of the rights for good. The user comes last. Without it the role may be what a killed run has left, and gets
    the rights that it lacks; with it the rights are the operator's.
    """
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "users.json")
        airflow("users", "export", str(known))
        if ids.STARTER_ROLE in {user["username"] for user in json.loads(known.read_text())}:
            return
    airflow("roles", "create", ids.STARTER_ROLE)
    for right in json.loads(ROLES.read_text()):
        actions = right["action"].split(",")
        airflow("roles", "add-perms", right["name"], "--resource", right["resource"], "--action", *actions)
    create_user(ids.STARTER_ROLE, ids.STARTER_ROLE, "amop_starter_password")


def create_user(name: str, role: str, password_file: str) -> None:
    """Create a user unless there is one of this name, whose password is then left alone."""
    password = (SECRETS / password_file).read_text().strip()
    identity = ("--username", name, "--firstname", name, "--lastname", "AMOP", "--email", f"{name}@amop.invalid")
    airflow("users", "create", *identity, "--role", role, "--password", password)


def main() -> None:
    """Run every step, in order."""
    warehouse = subprocess.Popen([sys.executable, "-m", "amop.cli", "migrate"])
    airflow("db", "migrate")
    if warehouse.wait():
        raise SystemExit("the warehouse was not migrated; see the message above")
    create_missing_pools()
    # The rights of a role name DAGs, which Airflow must know.
    airflow("dags", "reserialize")
    airflow("sync-perm", "--include-dags")
    create_user(ADMIN, "Admin", "admin_password")
    create_starter()


if __name__ == "__main__":
    main()
