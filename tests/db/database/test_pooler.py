"""A pooler that ignores the limits of a session is refused with the reason, before any statement can hang."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from amop.carriers.call_gate import PostgresCallGate
from amop.database.connection import SettingsIgnoredError, connect, transaction, with_statement_limit
from tests.worlds.pooler import pooler_that_ignores_options


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_pooler_that_ignores_options_is_refused_and_names_the_limits(warehouse_dsn: str, autocommit: bool) -> None:
    with pooler_that_ignores_options(warehouse_dsn) as pooled:
        with pytest.raises(SettingsIgnoredError) as refused:
            connect(pooled, autocommit=autocommit)
        with psycopg.connect(pooled) as connection:  # it works otherwise
            assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
    text = str(refused.value)
    assert "lock_timeout is 0 ms instead of 60000 ms" in text
    assert "statement_timeout is 0 ms instead of 900000 ms" in text
    assert "PgBouncer" in text and "docs/security.md" in text


def test_the_call_gate_is_refused_behind_such_a_pooler_too(warehouse_dsn: str) -> None:
    with pooler_that_ignores_options(warehouse_dsn) as pooled:
        gate = PostgresCallGate(pooled, "user", 5)
        with pytest.raises(SettingsIgnoredError), gate.call():
            pass


@pytest.mark.parametrize(
    "own", ["", "-c lock_timeout=5s -c statement_timeout=0", "-c search_path=amop", "-c lock_timeout=7ms"]
)
def test_limits_that_hold_are_accepted_also_those_of_the_connection_itself(warehouse_dsn: str, own: str) -> None:
    conninfo = make_conninfo(warehouse_dsn, options=own) if own else warehouse_dsn
    for each in (conninfo, with_statement_limit(conninfo, timedelta(seconds=90))):
        with transaction(each) as connection:
            row = connection.execute("SELECT 1 AS one").fetchone()
        assert row == {"one": 1}
