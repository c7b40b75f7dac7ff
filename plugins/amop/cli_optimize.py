"""``bin/amop optimize``: the optimizer on CSV files, without Airflow and without a warehouse."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from amop.optimization import CertificateError, OptimizationResult, OptimizerInputError, micro, optimize, verify
from amop.optimization.explanation import Explanation, FinalPrices, explain, money
from amop.pipeline.csv_table import InputFileError
from amop.pipeline.optimization_files import OptimizationInputs, read_inputs, write_outputs

FAILED = 1
WRONG_USAGE = 2
LONGEST_PERIOD = 366
WIDTH_OF_A_PIPE = 200

STEPS = ("reading", "solving", "verifying", "writing")


def optimize_command(
    devices: Annotated[Path, typer.Option(help="CSV of the SIMs.")],
    rate_plans: Annotated[Path, typer.Option(help="CSV of the rate plans.")],
    eligibility: Annotated[Path, typer.Option(help="CSV: which communication plan allows which rate plan.")],
    out: Annotated[Path, typer.Option(help="CSV to write: the rate plan of every SIM, in the order of the SIMs.")],
    summary: Annotated[Path | None, typer.Option(help="JSON to write: costs, bound, gap.")] = None,
    period_days: Annotated[int, typer.Option(min=1, max=LONGEST_PERIOD, help="Days of the billing period.")] = 30,
    prorate: Annotated[
        bool, typer.Option("--prorate", help="Prorate the charge of SIMs active for a part of the period.")
    ] = False,
    prorate_allowance: Annotated[
        bool, typer.Option("--prorate-allowance", help="Prorate their included data, too.")
    ] = False,
    max_changes: Annotated[int | None, typer.Option(min=0, help="Most SIMs that may leave their plan.")] = None,
    min_saving: Annotated[str, typer.Option(help="What each change of a plan must save at least.")] = "0",
    time_limit: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds for the proof that a small fleet's answer is the best; 25 if not given."),
    ] = None,
    explain_device: Annotated[
        list[str] | None,
        typer.Option("--explain", metavar="DEVICE_ID", help="Print why this SIM is on its plan; may be repeated."),
    ] = None,
) -> None:
    """Assign every SIM to the rate plan with which the bill is least, and prove how close to the least it is.

    Files, columns and figures: docs/optimize.md. Exit status 2: something is wrong with the input; nothing is written.
    """
    begun = time.perf_counter()
    with _expected_errors():
        _check_paths([devices, rate_plans, eligibility], [out, *([summary] if summary else [])])
        saving = _saving(min_saving)
        with _progress() as step:
            step("reading")
            inputs = read_inputs(devices, rate_plans, eligibility, period_days=period_days)
            rows = _rows_to_explain(inputs, explain_device or [])
            step("solving")
            try:
                result = optimize(
                    inputs.devices, inputs.rate_plans, inputs.eligibility, period_days=period_days,
                    uses_proration=prorate, prorate_allowance=prorate_allowance, min_saving_per_change=saving,
                    max_changes=max_changes, time_limit=time_limit,
                )  # fmt: skip
            except OptimizerInputError as error:
                raise inputs.located(error) from None
            step("verifying")
            verify(result.certificate, result.model, result.assignment)
            step("writing")
            figures = write_outputs(inputs, result, out, summary, time.perf_counter() - begun)
    _print_result(inputs, result, figures, rows)


def _print_result(
    inputs: OptimizationInputs, result: OptimizationResult, figures: dict[str, Any], rows: Sequence[int]
) -> None:
    if inputs.ignored_columns:
        typer.echo(f"amop: columns that mean nothing here: {', '.join(inputs.ignored_columns)}", err=True)
    _print_figures(figures)
    for row in rows:
        _print_explanation(explain(result.model, result.assignment, FinalPrices.of(result.certificate), row))


@contextlib.contextmanager
def _expected_errors() -> Iterator[None]:
    """End with one message and no traceback where something is wrong that can be expected."""
    try:
        yield
    except InputFileError as error:
        _fail(str(error), WRONG_USAGE)
    except CertificateError as error:
        _fail(f"the result does not hold what it claims, a defect: {error}; nothing was written", FAILED)
    except OSError as error:
        _fail(f"{error.filename or 'a file'} cannot be written: {error.strerror}; nothing was written", FAILED)


def _fail(message: str, exit_status: int) -> NoReturn:
    typer.echo(f"amop: {message}", err=True)
    raise typer.Exit(exit_status)


def _check_paths(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Refuse outputs that could not be written, before the work is done."""
    for number, path in enumerate(outputs):
        if not path.parent.is_dir():
            raise InputFileError(f"{path}: the folder {str(path.parent)!r} is not there; nothing was written")
        if path.is_dir():
            raise InputFileError(f"{path} is a folder; nothing was written")
        if path.resolve() in {other.resolve() for other in [*inputs, *outputs[:number]]}:
            raise InputFileError(f"{path} is named twice, or is an input; nothing was written")


def _saving(text: str) -> Decimal:
    try:
        units = micro(text.strip())
    except OptimizerInputError as error:
        raise InputFileError(f"--min-saving: {error}") from None
    if units < 0:
        raise InputFileError(f"--min-saving: {text!r} is negative")
    return Decimal(units).scaleb(-6)


def _rows_to_explain(inputs: OptimizationInputs, device_ids: Sequence[str]) -> list[int]:
    rows = []
    for device_id in device_ids:
        row = inputs.row_of(device_id)
        if row is None:
            raise InputFileError(f"--explain: {inputs.device_table.file} has no device {device_id!r}")
        rows.append(row)
    return rows


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Show the steps with a bar and the time on a terminal; nothing elsewhere. Gives what begins a step."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(STEPS[0], total=len(STEPS))
        yield lambda name: progress.update(task, description=name, completed=STEPS.index(name))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_PIPE)  # long lines instead of folded cells


def _print_figures(figures: dict[str, Any]) -> None:
    """Print a table on a terminal, else one line for each figure: its name and its value."""
    console = _console()
    if not console.is_terminal:
        for name, value in figures.items():
            typer.echo(f"{name} {value}")
        return
    table = Table(title="Optimization", title_justify="left", show_edge=False, show_header=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("", style="dim")
    costs = {name: Decimal(figures[name]) for name in ("current_cost", "total_cost", "savings", "lower_bound")}
    notes = {
        "savings": _share(costs["savings"], costs["current_cost"], "of the current cost"),
        "lower_bound": "no assignment costs less",
        "status": "of the objective" if "objective" in figures else "",
        "gap": f"at most {costs['total_cost'] - costs['lower_bound']} above the least possible",
    }
    for name, value in figures.items():
        text = f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if name == "gap" else _grouped(value)
        table.add_row(name.replace("_", " "), text, notes.get(name, ""))
    console.print(table)


def _grouped(value: object) -> str:
    """Return money with its thousands grouped, anything else as it is."""
    text = str(value)
    whole, point, fraction = text.partition(".")
    return f"{int(whole):,}{point}{fraction}" if len(fraction) == 6 and whole.lstrip("-").isdigit() else text


def _share(part: Decimal, whole: Decimal, of_what: str) -> str:
    return f"{part / whole:.2%} {of_what}" if whole else ""


def _print_explanation(explanation: Explanation) -> None:
    title = (
        f"{explanation.device_id}: {money(explanation.usage_mb)} MB, {explanation.sms_usage:,} SMS, billed for "
        f"{explanation.billed_days} days"
    )
    table = Table(title=escape(title), title_justify="left", show_edge=False)
    table.add_column("rate plan", overflow="fold")
    table.add_column("pool", overflow="fold")
    names = ("own cost", "MB above allowance", "price of a MB", "data", "change", "total", "difference")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("")
    for plan in explanation.plans:
        values = (
            plan.own_cost, plan.above_allowance_mb, plan.price_per_mb, plan.data_cost, plan.change_cost, plan.total,
            plan.difference,
        )  # fmt: skip
        marks = ("chosen" if plan.is_chosen else "", "present" if plan.is_current else "",
                 "" if plan.is_eligible else "not eligible")  # fmt: skip
        numbers = (money(value, places=9 if at == 2 else 6) for at, value in enumerate(values))
        table.add_row(escape(plan.rate_plan), escape(plan.pool or ""), *numbers, ", ".join(filter(None, marks)))
    console = _console()
    console.print()
    console.print(table)
    for sentence in explanation.sentences:
        console.print(escape(sentence), highlight=False)
