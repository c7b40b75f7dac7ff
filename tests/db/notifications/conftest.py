"""The world of the tests of notifications."""

from __future__ import annotations

import pytest

from tests.worlds.notifications_world import NotificationsWorld


@pytest.fixture
def world(warehouse_dsn: str) -> NotificationsWorld:
    """Return a warehouse with two providers, and an inbox."""
    return NotificationsWorld(warehouse_dsn)
