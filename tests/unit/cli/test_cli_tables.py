"""Tables of the command line: quantities have thousands separators, names that are numbers have none."""

from __future__ import annotations

import pytest

from amop.cli.output import print_table


def test_ids_and_years_have_no_thousands_separators_and_quantities_have(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("id", "bill_year", "service_provider_id", "run", "devices_seen")
    print_table("Runs", columns, [[1234, 2026, 5678, 9012, 3456]])
    assert capsys.readouterr().out.splitlines()[3].split() == [
        "1234",
        "│",
        "2026",
        "│",
        "5678",
        "│",
        "9012",
        "│",
        "3,456",
    ]
