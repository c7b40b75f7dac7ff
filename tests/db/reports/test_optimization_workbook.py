"""The workbook of an optimization, read back with another library and held against the database."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.escape import unescape
from openpyxl.workbook import Workbook

from amop.optimization.inputs import ValidationError
from amop.optimization.instances import InstanceEndedError
from amop.reports import report
from amop.reports.workbook import write_workbook
from amop.reports.xlsx import CHARACTERS_PER_CELL, Column, ReportWorkbook
from amop.runs.errors import PipelineError
from tests.db.optimization.test_optimization_bill import add_odd_fleet
from tests.worlds.optimization_world import OptimizationWorld

SHEETS = ["Summary", "Rate plans and pools", "Comm groups", "SIMs", "Proposed changes", "Excluded SIMs"]
FORMULA = '=HYPERLINK("http://evil.example","click")'


def workbook_of(world: OptimizationWorld, instance_id: int, **options: Any) -> Workbook:
    with write_workbook(world.dsn, instance_id, **options) as written:
        content = Path(written.path).read_bytes()
    return openpyxl.load_workbook(io.BytesIO(content), data_only=True)


def rows_of(book: Workbook, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table by its titles, up to the first row without a first cell."""
    titles, *rows = book[name].iter_rows(values_only=True)
    table = []
    for row in rows:
        if row[0] is None:
            break
        table.append(dict(zip(titles, row, strict=True)))
    return table


def micro(value: float | None) -> Decimal:
    """Return a number of a cell with the 6 decimals of the warehouse."""
    return Decimal(repr(value or 0)).quantize(Decimal("1e-6"))


@pytest.fixture(scope="module")
def world(shared_warehouse_dsn: str) -> OptimizationWorld:
    """A fleet, optimized once: the tests that have it only read."""
    world = OptimizationWorld(shared_warehouse_dsn)
    add_odd_fleet(world)
    world.add_communication_plan(FORMULA, ["Small"])
    world.add_sim("8901170000000999990", FORMULA, "Small", 3)
    world.add_sim("8901170000000999991", "+49 plan", "Small", 3)
    world.add_sim("8901170000000999992", "Tracking", "Small", status="INVENTORY")
    world.optimize()
    return world


@pytest.fixture(scope="module")
def instance(world: OptimizationWorld) -> dict[str, Any]:
    return world.execute("SELECT * FROM amop.optimization_instance ORDER BY id")[0]


@pytest.fixture(scope="module")
def book(world: OptimizationWorld, instance: dict[str, Any]) -> Workbook:
    return workbook_of(world, instance["id"])


def test_every_figure_of_the_summary_is_that_of_the_database(
    book: Workbook, world: OptimizationWorld, instance: dict[str, Any]
) -> None:
    assert book.sheetnames == SHEETS
    values = {row[0]: row[1] for row in book["Summary"].iter_rows(values_only=True) if row[0]}
    for label, column in (
        ("Present rate plans", "current_cost"),
        ("Base assignment (included data closest to the usage)", "base_cost"),
        ("Optimized rate plans", "total_cost"),
        ("Lower bound: no assignment costs less", "lower_bound"),
        ("Savings against the present rate plans", "savings"),
    ):
        assert micro(values[label]) == instance[column], label
    gap = instance["total_cost"] - instance["lower_bound"]
    assert micro(values["Gap: largest possible further saving"]) == gap
    changes = world.execute("SELECT count(*) AS n FROM amop.rate_plan_change")[0]["n"]
    certificate = instance["certificate"]
    assert values["pool Fleet"] == pytest.approx(certificate["prices"][0] / certificate["price_scale"], rel=1e-14)
    assert micro(values["Bound that these prices prove"]) == Decimal(certificate["price_bound_micro"]).scaleb(-6)
    assert values["Plan changes proposed"] == changes
    counted = ("Expected: active, with usage, or activated in the period", "Placed: may change its rate plan")
    assert [values[label] for label in counted] == [82, 81]
    assert values["   Its communication plan is not mapped to any rate plan"] == 1
    assert values["   Not activated: no usage in this billing period, and not activated within it"] == 1
    texts = [str(label) for label in values]
    assert any(text.startswith("Billing period 2026-10-18 18:00 America/New_York") for text in texts)
    assert any("Only 81 of 82 expected SIMs were placed" in text for text in texts)
    assert any(text.startswith("At the prices above: bound = sum over the SIMs") for text in texts)


def test_the_sims_add_up_to_the_bills_to_the_last_decimal(
    book: Workbook, world: OptimizationWorld, instance: dict[str, Any]
) -> None:
    rows = rows_of(book, "SIMs")
    results = world.results()
    assert [row["ICCID"] for row in rows] == sorted(results)
    for row in rows:
        stored = results[row["ICCID"]]
        assert (row["Rate plan today"], row["Rate plan optimized"], row["Reason"]) == (
            stored["from_rate_plan"],
            stored["to_rate_plan"],
            stored["reason"],
        )
        for title, column in (
            ("Cost today", "from_cost"),
            ("Cost optimized", "to_cost"),
            ("Usage MB", "usage_mb"),
            ("Projected usage MB", "projected_usage_mb"),
        ):
            assert micro(row[title]) == stored[column], (row["ICCID"], title)
    assert sum(micro(row["Cost today"]) for row in rows) == instance["current_cost"]
    assert sum(micro(row["Cost optimized"]) for row in rows) == instance["total_cost"]
    assert sum(micro(row["Saving"]) for row in rows) == instance["savings"]


def test_rate_plans_pools_and_comm_groups_add_up_to_the_bills(book: Workbook, instance: dict[str, Any]) -> None:
    rows = rows_of(book, "Rate plans and pools")
    plans = rows[: next(number for number, row in enumerate(rows) if row["Rate plan"] == "Total")]
    total = rows[len(plans)]
    for which, bill in (("today", "current_cost"), ("optimized", "total_cost")):
        parts = [f"{part} {which}" for part in ("Charges", "Overage cost", "SMS cost")]
        for column in (*parts, f"Cost {which}", f"Projected MB {which}", f"SIMs {which}"):
            assert sum(micro(row[column]) for row in plans) == micro(total[column]), column
        assert sum(micro(total[part]) for part in parts) == micro(total[f"Cost {which}"]) == instance[bill]
        assert total[f"SIMs {which}"] == instance["device_count"] + instance["kept_device_count"]
    below = list(book["Rate plans and pools"].iter_rows(min_row=len(plans) + 5, values_only=True))
    titles, pool, sums = below[0], dict(zip(below[0], below[1], strict=True)), below[2]
    assert (titles[0], pool["Pool"], sums[0]) == ("Pool", "pool Fleet", "Total")
    for which in ("today", "optimized"):
        unpooled = sum(micro(row[f"Overage cost {which}"]) for row in plans if row["Pool"] is None)
        assert unpooled + micro(pool[f"Overage cost {which}"]) == micro(total[f"Overage cost {which}"])
        over = micro(pool[f"Projected MB {which}"]) - micro(pool[f"Included MB {which}"])
        assert micro(pool[f"Overage MB {which}"]) == max(0, over)
    groups = rows_of(book, "Comm groups")
    assert {row["Outcome"] for row in groups} == {"optimized", "base_only", "no_plans"}
    assert sum(micro(row["Cost optimized"]) for row in groups) == instance["total_cost"]


def test_totals_are_formulas_so_that_a_reader_can_check_them(
    world: OptimizationWorld, instance: dict[str, Any]
) -> None:
    with write_workbook(world.dsn, instance["id"]) as written:
        sheet = openpyxl.load_workbook(written.path)["Rate plans and pools"]
    titles = [cell.value for cell in sheet[1]]
    (total,) = [row for row in sheet.iter_rows() if row[0].value == "Total" and row[-1].value is not None]
    column = titles.index("Cost optimized")
    letter = sheet.cell(1, column + 1).column_letter
    assert total[column].value == f"=SUM({letter}2:{letter}{total[0].row - 1})"


def test_changes_and_excluded_sims_are_listed_with_their_reason(book: Workbook, world: OptimizationWorld) -> None:
    changes = rows_of(book, "Proposed changes")
    stored = world.execute(
        "SELECT device.iccid, change.to_rate_plan FROM amop.rate_plan_change AS change"
        " JOIN amop.device AS device ON device.id = change.device_id"
    )
    assert {(row["ICCID"], row["To rate plan"], row["State"]) for row in changes} == {
        (row["iccid"], row["to_rate_plan"], "proposed") for row in stored
    }
    savings = [row["Saving"] for row in changes]
    assert savings == sorted(savings, reverse=True)
    excluded = [(row["ICCID"], row["Communication plan"], row["What to do"]) for row in rows_of(book, "Excluded SIMs")]
    assert excluded == [
        ("8901170000000999991", "+49 plan", "Map the plan in the reference file and load it"),
        ("8901170000000999992", "Tracking", None),
    ]


def test_doubtful_changes_are_marked_with_their_certainty_and_what_they_wait_for(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    add_odd_fleet(world)
    instance_id = world.optimize()["id"]
    first, second, third = (
        row["id"] for row in world.execute("SELECT id FROM amop.rate_plan_change ORDER BY id LIMIT 3")
    )
    change = "UPDATE amop.rate_plan_change SET is_doubtful = true, certainty = 0.25, waits_reason = %s WHERE id = %s"
    world.execute(change, None, first)
    world.execute(change, "waits for Friday", second)

    def timing() -> dict[int, tuple[float | None, str | None]]:
        iccids = world.execute("SELECT id, iccid FROM amop.rate_plan_change")
        numbers = {row["iccid"]: row["id"] for row in iccids}
        rows = rows_of(workbook_of(world, instance_id), "Proposed changes")
        return {numbers[row["ICCID"]]: (row["Certainty"], row["Waits"]) for row in rows}

    found = timing()
    assert found[first] == (0.25, "doubtful: it may wait for a later optimization")
    assert found[second] == (0.25, "waits for Friday")
    assert found[third] == (None, None)
    world.execute("UPDATE amop.optimization_instance SET changes_status = 'approved'")
    assert timing()[first] == (0.25, "doubtful, but does not wait")
    summary = {row[0].value: row[1].value for row in workbook_of(world, instance_id)["Summary"].iter_rows()}
    assert summary["   of them doubtful: they may wait for a later optimization"] == 2


def test_text_stays_text_whatever_it_begins_with(book: Workbook) -> None:
    (row,) = [row for row in book["SIMs"].iter_rows() if row[0].value == "8901170000000999990"]
    assert (row[0].data_type, row[0].number_format) in {("s", "@"), ("inlineStr", "@")}
    assert (row[1].value, row[1].number_format) == (FORMULA, "@")
    assert row[1].data_type in {"s", "inlineStr"}
    assert row[5].number_format == "#,##0.00"


def test_tables_can_be_read_titles_stay_filters_are_set_and_columns_are_wide_enough(book: Workbook) -> None:
    for name in SHEETS[1:]:
        sheet = book[name]
        assert sheet.freeze_panes == "B2", name
        assert sheet.auto_filter.ref.startswith("A1:"), name
        assert sheet.print_title_rows == "$1:$1", name
    assert book["SIMs"].auto_filter.ref == f"A1:M{book['SIMs'].max_row}"
    assert book["SIMs"].column_dimensions["A"].width >= 22
    assert len(book["Summary"]._charts) == 2


def test_the_charts_show_the_costs_of_the_cells_that_they_point_to(
    world: OptimizationWorld, instance: dict[str, Any]
) -> None:
    with write_workbook(world.dsn, instance["id"]) as written, zipfile.ZipFile(written.path) as package:
        charts = [package.read(name).decode() for name in package.namelist() if name.startswith("xl/charts/chart")]
    costs, plans = sorted(charts, key=len)
    for name in ("current_cost", "base_cost", "total_cost", "lower_bound"):
        assert f"<c:v>{float(instance[name]):.16g}</c:v>" in costs
    assert "'Rate plans and pools'!$Q$2:$Q$6" in plans and "'Rate plans and pools'!$Z$2:$Z$6" in plans
    for code in ("Small", "Large", "Old", "Pooled 5", "Pooled 50"):
        assert f"<c:v>{code}</c:v>" in plans


@pytest.mark.parametrize(("rows_per_sheet", "expected"), [(83, 1), (82, 2), (42, 2), (41, 3)])
def test_more_sims_than_a_sheet_holds_go_on_in_further_sheets(
    world: OptimizationWorld, instance: dict[str, Any], rows_per_sheet: int, expected: int
) -> None:
    book = workbook_of(world, instance["id"], rows_per_sheet=rows_per_sheet)
    names = ["SIMs", *[f"SIMs ({number})" for number in range(2, expected + 1)]]
    assert [name for name in book.sheetnames if name in {"SIMs"} or name.startswith("SIMs (")] == names
    found = [row["ICCID"] for name in names for row in rows_of(book, name)]
    assert found == sorted(world.results())
    assert all(book[name].max_row <= rows_per_sheet and book[name].freeze_panes == "B2" for name in names)


def test_limits_on_changes_that_the_optimization_kept_to_are_in_the_summary(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn, minimum_saving_per_change=Decimal("0.5"), maximum_changes=3)
    add_odd_fleet(world, 20)
    book = workbook_of(world, world.optimize()["id"])
    values = {row[0]: row[1] for row in book["Summary"].iter_rows(values_only=True)}
    assert (values["Minimum saving of a change"], values["Maximum number of changes"]) == (0.5, "3")
    reasons = [row["Reason"] for row in rows_of(book, "SIMs")]
    assert "kept: no change lowers the bill, within the provider's limits on changes" in reasons
    assert sum(reason.startswith("moved: saves") for reason in reasons) <= 3


def test_a_provider_without_sims_has_a_workbook_too(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    add_odd_fleet(world, 0)
    book = workbook_of(world, world.optimize()["id"])
    assert book.sheetnames == SHEETS
    assert rows_of(book, "SIMs") == []


def test_its_key_tells_integration_provider_period_and_session_apart(
    world: OptimizationWorld, instance: dict[str, Any]
) -> None:
    with write_workbook(world.dsn, instance["id"]) as written:
        assert written.key == f"carrier_optimization/jasper/1/2026-11/optimization_{instance['session_id']}.xlsx"
    assert not Path(written.path).parent.exists()


def test_writing_it_again_gives_the_same_tables_even_when_prices_changed_meanwhile(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    add_odd_fleet(world, 20)
    instance = world.optimize()
    book = workbook_of(world, instance["id"])
    world.execute("UPDATE amop.carrier_rate_plan SET rate_charge = rate_charge + 1")
    again = workbook_of(world, instance["id"])
    for name in SHEETS:
        assert list(again[name].values) == list(book[name].values), name
    assert report.report_uri_of(world.dsn, instance["id"]) is None
    for _ in range(2):
        report.set_report_uri(world.dsn, instance["id"], "s3://bucket/key.xlsx")
    assert report.report_uri_of(world.dsn, instance["id"]) == "s3://bucket/key.xlsx"


def test_there_is_none_before_the_results_and_none_of_an_instance_that_failed(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    add_odd_fleet(world, 5)
    instance_id = world.open()
    for step in world.steps(instance_id)[:5]:
        step()
    with pytest.raises(PipelineError, match="has no results; run write_results first"):
        workbook_of(world, instance_id)
    world.execute("UPDATE amop.optimization_session SET status = 'cancelled'")
    world.execute("UPDATE amop.carrier_rate_plan SET overage_rate = 0")
    failed = world.open(opened_by="carrier_optimization_jasper/second")
    group, validate, *_ = world.steps(failed)
    group()
    with pytest.raises(ValidationError):
        validate()
    with pytest.raises(InstanceEndedError, match="it has no report: One or more Rate Plans"):
        workbook_of(world, failed)


# The writer


TEXTS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "8901170000000000001",
    "1e5",
    "https://example.com",
    "mailto:a@b.c",
    "<b>&\"'",
    "é 漢字 🛰",
    "<r><t>markup</t></r>",
    "{=A1}",
    "_x0041_",
    "\ttab",
    "a\x0bb",
    " spaces ",
    "x" * CHARACTERS_PER_CELL,
]


def test_any_text_is_a_text_cell_and_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "texts.xlsx"
    with ReportWorkbook(path) as book:
        book.table("Texts", [Column("Text")], [[text] for text in (*TEXTS, "y" * (CHARACTERS_PER_CELL + 1), None)])
    _, *cells = (row[0] for row in openpyxl.load_workbook(path)["Texts"].iter_rows())
    assert all(cell.data_type in {"s", "inlineStr"} and cell.hyperlink is None for cell in cells)
    assert {cell.number_format for cell in cells} == {"@"}
    found = [unescape(cell.value) for cell in cells]
    # A text that looks like the writer's own markup gets a space behind it.
    assert found[: len(TEXTS)] == [text + " " if text.startswith("<r>") else text for text in TEXTS]
    assert found[len(TEXTS) :] == ["y" * (CHARACTERS_PER_CELL - 1) + "…"]


def test_an_error_while_writing_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> Iterator[list[str]]:
        yield ["one"]
        raise ConnectionError("the server is gone")

    with pytest.raises(ConnectionError), ReportWorkbook(tmp_path / "broken.xlsx") as book:
        book.table("Texts", [Column("Text")], rows())
    assert not (tmp_path / "broken.xlsx").exists()
