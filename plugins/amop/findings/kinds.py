"""The kinds of findings."""

from __future__ import annotations

from typing import Literal

FindingKind = Literal[
    "usage_spike", "pool_over", "no_usage", "imei_changed", "plan_changed", "ineligible_plan", "unknown_activation"
]
