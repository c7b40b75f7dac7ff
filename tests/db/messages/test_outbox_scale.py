"""A long outage of AMOP leaves many messages: a claim finds the next ones by index, however many wait behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from amop.database import sql
from amop.database.connection import WarehouseConnection, connect
from amop.messages.amop_client import AmopUnavailableError
from amop.messages.delivery import BATCH_SIZE, deliver_outbox
from amop.messages.outbox import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, claim_messages
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SESSIONS = 3000
STEPS = 6

FILL = """
WITH period AS (
    SELECT id FROM amop.billing_period WHERE service_provider_id = 1 ORDER BY id LIMIT 1
), session AS (
    INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, opened_by, status)
    SELECT 1, period.id, 'dag/' || n, 'complete' FROM period, generate_series(1, %(sessions)s) AS n RETURNING id
)
INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload)
SELECT 'progress', session.id, format('session:%%s:progress:%%s', session.id, step), '{"data": {}}'
FROM session, generate_series(1, %(steps)s) AS step ORDER BY session.id, step
"""


@pytest.fixture
def outbox(warehouse_dsn: str) -> Iterator[WarehouseConnection]:
    load_sandbox_reference(warehouse_dsn)
    with connect(warehouse_dsn, autocommit=True) as connection:
        connection.execute(FILL, {"sessions": SESSIONS, "steps": STEPS})
        connection.execute("ANALYZE amop.amop_outbox")
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def rows_read(connection: WarehouseConnection) -> int:
    """Claim a batch; return how many messages were read for it, none of them by a scan of the table or a sort."""
    parameters = {
        "session_id": None, "dedupe_key": None, "now": NOW, "batch_size": BATCH_SIZE,
        "first_delay_seconds": FIRST_DELAY_SECONDS, "longest_delay_seconds": LONGEST_DELAY_SECONDS,
    }  # fmt: skip
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.load('messages/claim_messages')}"
    row = connection.execute(explain, parameters).fetchone()  # type: ignore[arg-type]
    assert row is not None
    found = list(nodes(row["QUERY PLAN"][0]["Plan"]))
    assert not [node for node in found if node["Node Type"] in {"Seq Scan", "Sort", "Incremental Sort"}]
    reads = [node for node in found if node.get("Relation Name") == "amop_outbox" and "Scan" in node["Node Type"]]
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]) for node in reads
    )


def test_a_batch_reads_few_messages_of_many(outbox: WarehouseConnection) -> None:
    assert rows_read(outbox) <= 4 * STEPS * BATCH_SIZE
    outbox.execute("UPDATE amop.amop_outbox SET state = 'sent' WHERE attempts = 1")
    outbox.execute("UPDATE amop.amop_outbox SET state = 'sent' WHERE id <= (SELECT max(id) / 2 FROM amop.amop_outbox)")
    outbox.execute("ANALYZE amop.amop_outbox")
    assert rows_read(outbox) <= 4 * STEPS * BATCH_SIZE


def test_a_batch_has_one_message_of_a_session_and_the_oldest_sessions_first(outbox: WarehouseConnection) -> None:
    batch = claim_messages(outbox, limit=BATCH_SIZE, now=NOW)
    sessions = [message.session_id for message in batch]
    assert len(set(sessions)) == BATCH_SIZE
    assert all(message.dedupe_key == f"session:{message.session_id}:progress:1" for message in batch)
    assert [message.id for message in batch] == sorted(message.id for message in batch)


class Amop:
    """Takes messages until it is away."""

    def __init__(self, limit: int) -> None:
        self.taken: list[str] = []
        self.limit = limit

    def post(self, _kind: str, _payload: Any, key: str) -> None:
        if len(self.taken) >= self.limit:
            raise AmopUnavailableError("away")
        self.taken.append(key)


def test_what_a_delivery_does_not_send_is_due_again_without_an_attempt(
    warehouse_dsn: str, outbox: WarehouseConnection
) -> None:
    amop = Amop(BATCH_SIZE + 10)
    report = deliver_outbox(warehouse_dsn, amop, now=lambda: NOW)  # type: ignore[arg-type]
    assert (report.sent, report.pending) == (BATCH_SIZE + 10, SESSIONS * STEPS - BATCH_SIZE - 10)
    assert len(set(amop.taken)) == len(amop.taken)
    tried = outbox.execute("SELECT count(*) AS n FROM amop.amop_outbox WHERE attempts > 0").fetchone()
    assert tried == {"n": BATCH_SIZE + 10 + 3}
    assert len(claim_messages(outbox, limit=BATCH_SIZE, now=NOW)) == BATCH_SIZE


def test_one_connection_delivers_every_message(warehouse_dsn: str, outbox: WarehouseConnection) -> None:
    outbox.execute("UPDATE amop.amop_outbox SET state = 'sent' WHERE id > (SELECT min(id) FROM amop.amop_outbox) + 400")
    begin = _sessions(outbox)
    amop = Amop(10_000)
    report = deliver_outbox(warehouse_dsn, amop, now=lambda: NOW + timedelta(days=1))  # type: ignore[arg-type]
    assert (report.sent, report.pending, len(amop.taken)) == (401, 0, 401)
    assert _sessions(outbox) - begin <= 2


def _sessions(connection: WarehouseConnection) -> int:
    """Return how many sessions the database has served so far."""
    row = connection.execute(
        "SELECT pg_stat_clear_snapshot(), sessions FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row["sessions"])
