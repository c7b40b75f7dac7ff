"""Log lines are few and readable, however large a fleet is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from amop.log_lines import figures, is_milestone


@dataclass
class Counts:
    devices_seen: int
    list_is_exact: bool
    read_at: datetime | None
    plans: list[str]
    by_state: dict[str, int]


def test_the_list_of_a_million_sims_and_their_single_reads_are_logged_in_a_few_lines() -> None:
    pages, calls = 20_000, 1_000_000
    assert [count for count in range(1, pages + 1) if is_milestone(count)] == [
        20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000,
    ]  # fmt: skip
    assert sum(is_milestone(count) for count in range(1, calls + 1)) == 15


def test_figures_are_words_and_what_is_not_known_is_left_out() -> None:
    counts = Counts(12_345, True, None, [], {"applied": 3, "failed": 0})
    assert figures(counts) == "devices seen 12,345, list is exact yes, by state (applied 3, failed 0)"
    read = Counts(0, False, datetime(2026, 11, 3, 7, 30, tzinfo=UTC), ["a", "b"], {})
    assert figures(read) == "devices seen 0, list is exact no, read at 2026-11-03 07:30 UTC, plans (a; b)"
