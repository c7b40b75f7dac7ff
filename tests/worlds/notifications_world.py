"""Two providers, what happens to them, and the notifications that arrive; for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from amop.notifications.collect import collect
from amop.notifications.deliver import deliver
from amop.notifications.message import Message
from tests.worlds.optimization_world import NOW, OptimizationWorld

NO_KIND: frozenset[str] = frozenset()
MIDNIGHT_HOUR = 23
"""A due hour that `NOW` has not reached: no sync is late unless a test says so."""


class NotificationsWorld(OptimizationWorld):
    """Two providers, and an inbox."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, currency="USD")
        self.insert(
            "service_provider",
            id=2,
            tenant_id=1,
            integration_id=2,
            name="POD19",
            connection_id="pod19",
            time_zone="America/Chicago",
        )
        self.inbox: list[Message] = []

    def collect(self, *, now: datetime = NOW, off: frozenset[str] = NO_KIND, due_hour: int = MIDNIGHT_HOUR) -> int:
        return collect(self.dsn, now=now, off=off, due_hour=due_hour)

    def deliver(self, *, now: datetime = NOW, error: Exception | None = None) -> None:
        def send(message: Message) -> None:
            if error is not None:
                raise error
            self.inbox.append(message)

        deliver(self.dsn, send, base_url="https://airflow", now=now)

    def send_all(self) -> list[tuple[str, str]]:
        """Collect and deliver twice; return kinds and texts of what arrived."""
        for _ in range(2):
            self.collect()
            self.deliver()
        return [(message.kind, message.text) for message in self.inbox]

    def add_run(self, provider_id: int = 1, **values: Any) -> int:
        usual: dict[str, Any] = {
            "service_provider_id": provider_id,
            "dag_id": "device_sync_jasper",
            "dag_run_id": f"run {provider_id}",
            "is_full": True,
            "status": "failed",
            "billing_period_id": self.billing_period_id,
            "started_at": NOW - timedelta(hours=2),
            "ended_at": NOW - timedelta(hours=1),
        }
        return int(self.insert("device_sync_run", **(usual | values)))

    def add_session(self, **values: Any) -> int:
        usual = {
            "service_provider_id": 1,
            "billing_period_id": self.billing_period_id,
            "opened_by": f"test {len(values)} {values.get('status')}",
        }
        return int(self.insert("optimization_session", **(usual | values)))
