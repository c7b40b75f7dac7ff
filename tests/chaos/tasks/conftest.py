"""Tests of Airflow itself, which runs on the machine's clock."""

from __future__ import annotations

from datetime import datetime

import pytest


@pytest.fixture(scope="module", autouse=True)
def moment(machine_moment: datetime) -> datetime:
    """Return the machine's time; the warehouse has the same, as in production."""
    return machine_moment
