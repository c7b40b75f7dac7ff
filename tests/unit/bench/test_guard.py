"""The guard fails where a ratio is above its bound, or the file and the measurement do not name the same ones."""

from __future__ import annotations

from bench.guard import Ratio, compare, kept_ratios


def test_a_ratio_above_its_bound_is_named_with_both_figures() -> None:
    kept = {"merge": Ratio(kept=2.0, most=6.0), "wal": Ratio(kept=1.0, most=1.5)}
    assert compare({"merge": 6.0, "wal": 1.6}, kept) == ["wal is 1.60; at most 1.5 is allowed, it was 1"]


def test_a_ratio_that_is_only_kept_or_only_measured_is_a_fault() -> None:
    assert compare({"new": 1.0}, {"old": Ratio(1.0, 2.0)}) == [
        "new is measured, but ratios.toml does not keep it",
        "old is in ratios.toml, but is not measured",
    ]


def test_no_kept_ratio_is_above_its_own_bound() -> None:
    assert all(ratio.kept <= ratio.most for ratio in kept_ratios().values())
    assert len(kept_ratios()) == 6
