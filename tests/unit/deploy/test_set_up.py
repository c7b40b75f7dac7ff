"""The set-up of docker-compose.yaml may be killed at any step: the next run leaves role and user complete."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from amop import ids

ROOT = Path(__file__).resolve().parents[3]
RIGHTS = {
    right["resource"]: set(right["action"].split(","))
    for right in json.loads((ROOT / "include" / "airflow" / "roles.json").read_text())
}


class KilledError(BaseException):
    """The process was killed."""


class FabCommands:
    """Airflow's commands of users and roles as FAB executes them: each right of a role is committed on its own."""

    def __init__(self) -> None:
        self.roles: dict[str, dict[str, set[str]]] = {}
        self.users: dict[str, str] = {}
        self.commits_left = 10**6

    def commit(self) -> None:
        """End a transaction, or the process before it."""
        if not self.commits_left:
            raise KilledError
        self.commits_left -= 1

    def __call__(self, *words: str) -> None:
        """Run a command."""
        match words:
            case ("users", "export", path):
                Path(path).write_text(json.dumps([{"username": name} for name in self.users]))
            case ("roles", "create", name):
                self.commit()
                self.roles.setdefault(name, {})
            case ("roles", "add-perms", name, "--resource", resource, "--action", *actions):
                for action in actions:
                    self.commit()
                    self.roles[name].setdefault(resource, set()).add(action)
            case ("users", "create", "--username", name, *options):
                role = options[options.index("--role") + 1]
                assert role in self.roles
                self.commit()
                self.users.setdefault(name, role)
            case _:
                raise AssertionError(words)


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "amop_starter_password").write_text("secret")
    monkeypatch.setenv("SECRETS_DIRECTORY", str(tmp_path))
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "deploy" / "set_up.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_set_up_that_is_killed_after_any_commit_is_completed_by_the_next_one(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 1 + sum(map(len, RIGHTS.values())) + 1
    for survived in range(commits):
        fab = FabCommands()
        monkeypatch.setattr(set_up, "airflow", fab)
        fab.commits_left = survived
        with pytest.raises(KilledError):
            set_up.create_starter()
        assert fab.users == {}
        fab.commits_left = commits
        set_up.create_starter()
        assert fab.roles == {ids.STARTER_ROLE: RIGHTS}, survived
        assert fab.users == {ids.STARTER_ROLE: ids.STARTER_ROLE}


def test_what_an_operator_has_taken_from_the_role_is_not_given_back(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fab = FabCommands()
    monkeypatch.setattr(set_up, "airflow", fab)
    set_up.create_starter()
    del fab.roles[ids.STARTER_ROLE]["DAG:device_sync_rogers"]
    fab.commits_left = 0
    set_up.create_starter()
    assert "DAG:device_sync_rogers" not in fab.roles[ids.STARTER_ROLE]
