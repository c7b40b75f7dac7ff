"""Loading reference data: atomic, repeatable, exact; billing periods of providers whose settings change."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from amop.database.connection import connect, transaction
from amop.reference.billing_periods import UnknownServiceProviderError, ensure_billing_period
from amop.reference.entries import RatePlanEntry, ServiceProviderEntry
from amop.reference.load import load_reference
from amop.reference.reference_file import ReferenceFileError

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

REFERENCE = """\
tenants:
  - {id: 1, name: Acme IoT, time_zone: America/New_York}
service_providers:
  - id: 1
    tenant_id: 1
    integration: jasper
    name: AT&T
    connection_id: carrier_jasper_1
    time_zone: America/New_York
    rate_plans:
      - {rate_plan_code: A, rate_charge: "2.50", plan_mb: "10", overage_rate: "1", data_per_overage_charge: "0.1"}
      - {rate_plan_code: B, rate_charge: "4", plan_mb: "25", overage_rate: "1", data_per_overage_charge: "1"}
      - {rate_plan_code: C, rate_charge: "9", plan_mb: "99", overage_rate: "1", data_per_overage_charge: "1"}
    communication_plans:
      - {name: Data LTE, rate_plans: [A, B]}
      - {name: Data 5G, rate_plans: [B, C]}
  - {id: 2, tenant_id: 1, integration: rogers, name: Rogers, connection_id: carrier_rogers_1, time_zone: America/Toronto}
"""  # noqa: E501

TABLES = (
    "tenant", "service_provider", "carrier_rate_plan", "communication_plan", "communication_plan_rate_plan",
    "billing_period",
)  # fmt: skip


@pytest.fixture
def load(warehouse_dsn: str, tmp_path: Path) -> Any:
    """Return a function that loads a text as a reference file, by default at NOW."""

    def load_text(text: str, now: datetime = NOW, **options: Any) -> dict[str, dict[str, int]]:
        path = tmp_path / "reference.yaml"
        path.write_text(text, encoding="utf-8")
        return load_reference(warehouse_dsn, path, now=now, **options)

    return load_text


def rows(conninfo: str, query: str) -> list[dict[str, Any]]:
    with connect(conninfo) as connection:
        return connection.execute(query).fetchall()


def row_versions(conninfo: str) -> dict[str, list[str]]:
    """Return the physical place and writing transaction of every row: equal only when nothing was written."""
    query = "SELECT ctid || ' ' || xmin AS at FROM amop.{} ORDER BY 1"
    return {table: [row["at"] for row in rows(conninfo, query.format(table))] for table in TABLES}


def mapping(conninfo: str) -> set[tuple[str, str]]:
    query = (
        "SELECT c.name, r.rate_plan_code FROM amop.communication_plan_rate_plan m "
        "JOIN amop.communication_plan c ON c.id = m.communication_plan_id "
        "JOIN amop.carrier_rate_plan r ON r.id = m.carrier_rate_plan_id"
    )
    return {(row["name"], row["rate_plan_code"]) for row in rows(conninfo, query)}


def test_first_load_inserts_everything_with_current_billing_periods(load: Any, warehouse_dsn: str) -> None:
    counts = load(REFERENCE)
    assert {table: counts[table]["inserted"] for table in TABLES} == {
        "tenant": 1, "service_provider": 2, "carrier_rate_plan": 3, "communication_plan": 2,
        "communication_plan_rate_plan": 4, "billing_period": 2,
    }  # fmt: skip
    plan = rows(warehouse_dsn, "SELECT * FROM amop.carrier_rate_plan WHERE rate_plan_code = 'A'")[0]
    assert (plan["rate_charge"], plan["data_per_overage_charge"]) == (Decimal("2.5"), Decimal("0.1"))
    assert mapping(warehouse_dsn) == {
        ("Data LTE", "A"),
        ("Data LTE", "B"),
        ("Data 5G", "B"),
        ("Data 5G", "C"),
    }
    period = rows(warehouse_dsn, "SELECT * FROM amop.billing_period WHERE service_provider_id = 1")[0]
    assert (period["bill_year"], period["bill_month"]) == (2026, 12)
    assert (period["cycle_start"], period["cycle_end"]) == (
        datetime(2026, 11, 18, 23, tzinfo=UTC),
        datetime(2026, 12, 18, 23, tzinfo=UTC),
    )


def test_second_load_of_the_same_file_writes_no_row(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    before = row_versions(warehouse_dsn)
    counts = load(REFERENCE)
    assert row_versions(warehouse_dsn) == before
    assert all(number == 0 for numbers in counts.values() for name, number in numbers.items() if name != "unchanged")
    assert [counts[table]["unchanged"] for table in TABLES] == [1, 2, 3, 2, 4, 2]


def test_only_changed_rows_are_written(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    before = row_versions(warehouse_dsn)
    counts = load(REFERENCE.replace('"2.50"', '"2.75"').replace("name: Rogers", "name: Rogers Canada"))
    assert (counts["carrier_rate_plan"]["updated"], counts["carrier_rate_plan"]["unchanged"]) == (1, 2)
    assert (counts["service_provider"]["updated"], counts["service_provider"]["unchanged"]) == (1, 1)
    after = row_versions(warehouse_dsn)
    written = {table: len(set(after[table]) - set(before[table])) for table in TABLES}
    assert written == {
        "tenant": 0, "service_provider": 1, "carrier_rate_plan": 1, "communication_plan": 0,
        "communication_plan_rate_plan": 0, "billing_period": 0,
    }  # fmt: skip


def test_an_equal_amount_in_another_notation_is_not_a_change(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    before = row_versions(warehouse_dsn)
    load(REFERENCE.replace('"2.50"', '"2.5"').replace('"4"', "4"))
    assert row_versions(warehouse_dsn) == before


def test_pairs_that_are_no_longer_in_the_file_are_removed(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    text = REFERENCE.replace("rate_plans: [A, B]", "rate_plans: [A]").replace(
        "      - {name: Data 5G, rate_plans: [B, C]}\n", ""
    )
    counts = load(text)
    assert counts["communication_plan_rate_plan"] == {
        "inserted": 0, "updated": 0, "unchanged": 1, "removed": 3,
    }  # fmt: skip
    assert mapping(warehouse_dsn) == {("Data LTE", "A")}
    assert len(rows(warehouse_dsn, "SELECT 1 FROM amop.communication_plan")) == 2  # the plan itself is kept


def test_a_provider_without_a_mapping_in_the_file_keeps_its_stored_one(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    text = REFERENCE[: REFERENCE.index("    communication_plans")]
    assert load(text)["communication_plan_rate_plan"]["removed"] == 0
    assert len(mapping(warehouse_dsn)) == 4
    assert load(text + "    communication_plans: []\n")["communication_plan_rate_plan"]["removed"] == 4
    assert mapping(warehouse_dsn) == set()


def test_the_mapping_of_one_provider_does_not_touch_another(load: Any, warehouse_dsn: str) -> None:
    second = REFERENCE[REFERENCE.index("  - id: 1\n") : REFERENCE.index("  - {id: 2")].replace(
        "  - id: 1\n", "  - id: 3\n"
    )
    load(REFERENCE + second.replace("name: AT&T", "name: AT&T 3"))
    assert len(rows(warehouse_dsn, "SELECT 1 FROM amop.communication_plan_rate_plan")) == 8
    load(REFERENCE.replace("[A, B]", "[A]"))  # does not mention provider 3
    assert len(rows(warehouse_dsn, "SELECT 1 FROM amop.communication_plan_rate_plan")) == 7


def test_rate_plans_that_the_file_does_not_list_are_kept_and_reported(
    load: Any, warehouse_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    load(REFERENCE)
    text = "\n".join(line for line in REFERENCE.splitlines() if "rate_plan_code: C" not in line)
    with caplog.at_level(logging.WARNING):
        counts = load(text.replace("[B, C]", "[B]"))
    assert counts["carrier_rate_plan"]["not_in_file"] == 1
    assert caplog.messages == ["AT&T (1): rate plan 'C' is not in the file; it was not changed"]
    assert len(rows(warehouse_dsn, "SELECT 1 FROM amop.carrier_rate_plan")) == 3


def test_a_wrong_file_writes_nothing(load: Any, warehouse_dsn: str) -> None:
    with pytest.raises(ReferenceFileError) as caught:
        load(REFERENCE.replace("integration: rogers", "integration: bell").replace('"2.50"', "2.51"))
    assert [problem.line for problem in caught.value.problems] == [11, 17]
    assert row_versions(warehouse_dsn) == {table: [] for table in TABLES}


def test_a_file_that_conflicts_with_the_warehouse_writes_nothing_and_names_the_row(
    load: Any, warehouse_dsn: str
) -> None:
    load(REFERENCE)
    before = row_versions(warehouse_dsn)
    text = "tenants:\n  - {id: 5, name: New, time_zone: UTC}\n  - {id: 9, name: Acme IoT, time_zone: UTC}\n"
    with pytest.raises(ReferenceFileError, match=r"Key \(name\)=\(Acme IoT\) already exists.*\(in tenant\)"):
        load(text)
    assert row_versions(warehouse_dsn) == before


def integration_types(conninfo: str) -> dict[str, int | None]:
    stored = rows(conninfo, "SELECT name, integration_type FROM amop.integration")
    return {row["name"]: row["integration_type"] for row in stored if row["integration_type"] is not None}


def test_the_numbers_of_the_integrations_are_stored_kept_and_may_be_exchanged(load: Any, warehouse_dsn: str) -> None:
    numbers = "integrations:\n  - {name: jasper, integration_type: 2}\n  - {name: rogers, integration_type: 12}\n"
    assert load(numbers + REFERENCE)["integration"] == {"inserted": 0, "updated": 2, "unchanged": 0}
    assert load(numbers + REFERENCE)["integration"] == {"inserted": 0, "updated": 0, "unchanged": 2}
    load(REFERENCE)
    assert integration_types(warehouse_dsn) == {"jasper": 2, "rogers": 12}
    load(numbers.replace("12}", "2 }").replace("2}", "12}") + REFERENCE)
    assert integration_types(warehouse_dsn) == {"jasper": 12, "rogers": 2}


def test_a_number_of_another_integration_is_refused(load: Any, warehouse_dsn: str) -> None:
    load("integrations:\n  - {name: jasper, integration_type: 2}\n")
    with pytest.raises(ReferenceFileError, match=r"Key \(integration_type\)=\(2\) already exists"):
        load("integrations:\n  - {name: pod19, integration_type: 2}\n")
    assert integration_types(warehouse_dsn) == {"jasper": 2}


def test_an_unreadable_file_is_an_error(warehouse_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_reference(warehouse_dsn, tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"tenants: [{name: Caf\xe9}]")
    with pytest.raises(ReferenceFileError, match=r"latin\.yaml: is not UTF-8 text \(byte 20\)"):
        load_reference(warehouse_dsn, tmp_path / "latin.yaml")


def test_two_concurrent_loads_have_the_effect_of_one(warehouse_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "reference.yaml"
    path.write_text(REFERENCE, encoding="utf-8")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: load_reference(warehouse_dsn, path, now=NOW), range(4)))
    assert sorted(result["service_provider"]["inserted"] for result in results) == [0, 0, 0, 2]
    assert sorted(result["billing_period"]["inserted"] for result in results) == [0, 0, 0, 2]


def test_names_that_look_like_sql_are_only_names(load: Any, warehouse_dsn: str) -> None:
    name = "x'); DROP TABLE amop.device; --"
    load(REFERENCE.replace("name: Data LTE", f'name: "{name}"').replace("A, B]", "A, B]"))
    assert (name, "A") in mapping(warehouse_dsn)
    assert rows(warehouse_dsn, "SELECT count(*) AS n FROM amop.device") == [{"n": 0}]


@pytest.mark.parametrize(
    ("model", "table"), [(ServiceProviderEntry, "service_provider"), (RatePlanEntry, "carrier_rate_plan")]
)
def test_defaults_of_the_file_are_those_of_the_database(model: Any, table: str, warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as connection:
        columns = connection.execute(
            "SELECT column_name, column_default FROM information_schema.columns "
            "WHERE table_schema = 'amop' AND table_name = %(table)s",
            {"table": table},
        ).fetchall()
        for column in columns:
            field = model.model_fields.get(column["column_name"])
            if field is None or field.is_required():
                continue
            default = connection.execute(f"SELECT {column['column_default'] or 'NULL'} AS value").fetchone()
            assert default is not None
            assert default["value"] == field.default, column["column_name"]


def test_ensuring_a_period_twice_gives_the_same_row(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    with transaction(warehouse_dsn) as connection:
        later = datetime(2027, 1, 3, tzinfo=UTC)
        first = ensure_billing_period(connection, 1, later)
        again = ensure_billing_period(connection, 1, later)
    assert first == again
    assert (first.bill_year, first.bill_month) == (2027, 1)
    assert first.cycle_start == datetime(2026, 12, 18, 23, tzinfo=UTC)


def test_a_period_of_an_unknown_provider_is_an_error(warehouse_dsn: str) -> None:
    with (
        pytest.raises(UnknownServiceProviderError, match="service provider 77 does not exist"),
        connect(warehouse_dsn) as connection,
    ):
        ensure_billing_period(connection, 77, NOW)


def test_racing_sessions_store_one_period(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)

    def ensure(_: int) -> int:
        with transaction(warehouse_dsn) as connection:
            return ensure_billing_period(connection, 1, datetime(2027, 5, 1, tzinfo=UTC)).id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(ensure, range(12)))) == 1


def test_a_changed_end_day_applies_at_once_while_nothing_uses_the_period(load: Any, warehouse_dsn: str) -> None:
    load(REFERENCE)
    counts = load(REFERENCE.replace("    rate_plans:", "    bill_period_end_day: 25\n    rate_plans:", 1))
    assert counts["billing_period"] == {"inserted": 1, "updated": 0, "unchanged": 1}
    periods = rows(warehouse_dsn, "SELECT * FROM amop.billing_period WHERE service_provider_id = 1")
    assert [(period["cycle_start"].day, period["cycle_end"].day) for period in periods] == [(25, 25)]
    assert periods[0]["bill_month"] == 11


@pytest.mark.parametrize(
    ("end_day", "next_period"),
    [
        # A later end day would end the same bill month again: the month grows instead of overlapping.
        (25, (12, datetime(2026, 11, 18, 23, tzinfo=UTC), datetime(2026, 12, 25, 23, tzinfo=UTC))),
        # An earlier one: the next period starts where the used one ended.
        (5, (1, datetime(2026, 12, 18, 23, tzinfo=UTC), datetime(2027, 1, 5, 23, tzinfo=UTC))),
    ],
)
def test_a_changed_end_day_does_not_change_a_used_period_and_the_next_one_follows_it(
    load: Any,
    warehouse_dsn: str,
    caplog: pytest.LogCaptureFixture,
    end_day: int,
    next_period: tuple[Any, ...],
) -> None:
    load(REFERENCE)
    with transaction(warehouse_dsn) as connection:
        period = ensure_billing_period(connection, 1, NOW)
        connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, billing_period_id) "
            "VALUES (1, '89010000000000000001', %(period)s)",
            {"period": period.id},
        )
    load(REFERENCE.replace("    rate_plans:", f"    bill_period_end_day: {end_day}\n    rate_plans:", 1))
    assert "the current billing period is in use" in caplog.text
    with transaction(warehouse_dsn) as connection:
        assert ensure_billing_period(connection, 1, NOW) == period
        following = ensure_billing_period(connection, 1, datetime(2026, 12, 19, tzinfo=UTC))
    assert (following.bill_month, following.cycle_start, following.cycle_end) == next_period


def test_prices_that_change_by_more_than_the_factor_are_refused_by_name_until_an_operator_allows_them(
    warehouse_dsn: str, load: Any
) -> None:
    load(REFERENCE)
    slipped = REFERENCE.replace('rate_charge: "2.50"', 'rate_charge: "25.0"').replace('plan_mb: "99"', 'plan_mb: "0"')
    with pytest.raises(ReferenceFileError) as refusal:
        load(slipped)
    assert str(refusal.value).count("by more than service_provider.maximum_price_factor 2") == 2
    assert "rate plan 'A' of AT&T (1) changes from 2.5 to 25" in str(refusal.value)
    assert "rate plan 'C' of AT&T (1) changes from 99 to 0" in str(refusal.value)
    prices = "SELECT rate_charge FROM amop.carrier_rate_plan WHERE rate_plan_code = 'A'"
    assert rows(warehouse_dsn, prices) == [{"rate_charge": Decimal("2.5")}]
    assert load(slipped, allow_implausible=True)["carrier_rate_plan"]["updated"] == 2
    assert rows(warehouse_dsn, prices) == [{"rate_charge": Decimal(25)}]


def test_a_price_within_the_factor_and_a_new_price_are_loaded(load: Any) -> None:
    load(REFERENCE)
    dearer = REFERENCE.replace('rate_charge: "2.50"', 'rate_charge: "5"').replace(
        'plan_mb: "25",', 'plan_mb: "25", sms_rate: "0.01",'
    )
    assert load(dearer)["carrier_rate_plan"]["updated"] == 2
    assert load(REFERENCE.replace('rate_charge: "2.50"', 'rate_charge: "2.5"'), allow_implausible=True)
