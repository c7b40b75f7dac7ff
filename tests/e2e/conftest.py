"""The world of a module of end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.environment import World
from tests.e2e_world import started_world


@pytest.fixture(scope="module")
def world(request: Any) -> Iterator[World]:
    """A running world of the module's own; the module's SIMS says how many SIMs an account has."""
    with started_world(request.module.SIMS) as running:
        yield running
