"""Run the optimizer on CSV files, without Airflow and without a warehouse: ``amop optimize``."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from amop.cli.explanation import print_explanation
from amop.cli.output import print_text, printable
from amop.optimization.csv_files import OptimizationInputs, read_inputs, result_figures, write_outputs
from amop.optimization.csv_table import InputFileError
from amop.optimization.history_files import parse_date, scenarios_of_history
from amop.optimization.proof_files import proof_document
from amop.optimization.scenario_files import ScenarioFile, expected_figures, interval_of, read_scenarios
from amop.solver import CertificateError, OptimizationResult, OptimizerInputError, micro, optimize, verify
from amop.solver.expected import ExpectedResult, optimize_expected
from amop.solver.explanation import FinalPrices, explain
from amop.solver.risk import risk_weight_units, verify_risk
from amop.solver.risk_candidates import UNITS
from amop.solver.scenario_certificate import verify_scenarios
from amop.solver.scenarios import RiskFigures

FAILED = 1
WRONG_USAGE = 2
MAX_PERIOD_DAYS = 366
PIPE_COLUMNS = 200

POOLS = "pools"
"""Figure with a row for each pool."""
GAPS = ("gap", "proved_gap", "expected_gap", "risk_adjusted_gap")

STEPS = ("reading", "solving", "verifying", "writing")


def optimize_command(
    devices: Annotated[Path, typer.Option(help="CSV of the SIMs.")],
    rate_plans: Annotated[Path, typer.Option(help="CSV of the rate plans.")],
    eligibility: Annotated[Path, typer.Option(help="CSV of the rate plans that each communication plan allows.")],
    out: Annotated[Path, typer.Option(help="CSV to write: the rate plan of each SIM, in the order of the SIMs.")],
    summary: Annotated[Path | None, typer.Option(help="JSON to write: costs, lower bound and gap.")] = None,
    proof: Annotated[Path | None, typer.Option(help="JSON to write: the proof, for `amop verify`.")] = None,
    period_days: Annotated[int, typer.Option(min=1, max=MAX_PERIOD_DAYS, help="Days of the billing period.")] = 30,
    prorate: Annotated[
        bool, typer.Option("--prorate", help="Prorate the charge of SIMs that are active for part of the period.")
    ] = False,
    prorate_allowance: Annotated[
        bool, typer.Option("--prorate-allowance", help="Also prorate their included data.")
    ] = False,
    max_changes: Annotated[
        int | None, typer.Option(min=0, help="Cap on the SIMs that leave a plan they could keep.")
    ] = None,
    min_saving: Annotated[str, typer.Option(help="Minimum saving per plan change.")] = "0",
    time_limit: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds of branch and bound on a small fleet; default 25, 0 skips it."),
    ] = None,
    explain_device: Annotated[
        list[str] | None,
        typer.Option("--explain", metavar="DEVICE_ID", help="Print why this SIM is on its plan; repeatable."),
    ] = None,
    usage_scenarios: Annotated[
        Path | None, typer.Option(help="CSV of usage in equally likely scenarios: make the expected bill least.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="CSV of daily usage: make the scenarios, and the expected bill least.")
    ] = None,
    risk_weight: Annotated[
        str, typer.Option(help="Weight of the mean of the worst tenth of the bills, with scenarios.")
    ] = "0",
    period_start: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day of the billing period, with --history.")
    ] = None,
) -> None:
    """Assign every SIM to the rate plan that makes the bill least, and prove the optimality gap.

    Files, columns and figures: docs/optimize.md. Exit status 2: the input is invalid; nothing is written.
    """
    begun = time.perf_counter()
    with expected_errors("the proof of the result does not hold, which is a defect; nothing was written"):
        more = [path for path in (usage_scenarios, history) if path]
        _check_paths([devices, rate_plans, eligibility, *more], [path for path in (out, summary, proof) if path])
        if more and (len(more) > 1 or max_changes is not None or explain_device):
            raise InputFileError(
                "--usage-scenarios and --history cannot be combined with each other, --max-changes or --explain"
            )
        if more and proof:
            raise InputFileError("--proof is not possible with --usage-scenarios or --history")
        if (history is None) != (period_start is None):
            raise InputFileError("--history and --period-start need each other")
        weight = _risk_weight(risk_weight)
        if weight and not more:
            raise InputFileError("--risk-weight needs --usage-scenarios or --history")
        first_day = parse_date("--period-start", period_start) if period_start else None
        options: dict[str, Any] = {
            "period_days": period_days,
            "uses_proration": prorate,
            "prorate_allowance": prorate_allowance,
            "min_saving_per_change": _saving(min_saving),
            "time_limit": time_limit,
        }
        with _progress() as step:
            step("reading")
            inputs = read_inputs(devices, rate_plans, eligibility, period_days=period_days)
            rows = _rows_to_explain(inputs, explain_device or [])
            scenarios = read_scenarios(usage_scenarios, inputs) if usage_scenarios else None
            if history and first_day:
                scenarios = scenarios_of_history(history, inputs, period_start=first_day, period_days=period_days)
            step("solving")
            answer: _PointAnswer | _ExpectedAnswer = (
                _PointAnswer.of(inputs, max_changes=max_changes, **options)
                if scenarios is None
                else _ExpectedAnswer.of(inputs, scenarios, risk_weight=weight, **options)
            )
            step("verifying")
            answer.verify()
            step("writing")
            figures = answer.figures(time.perf_counter() - begun)
            documents = {summary: json.dumps(figures, indent=2)} if summary else {}
            if proof and isinstance(answer, _PointAnswer):
                documents[proof] = json.dumps(proof_document(answer.result))
            write_outputs(inputs, answer.result.assignment, out, documents)
    ignored = [*inputs.ignored_columns, *(scenarios.ignored_columns if scenarios else ())]
    if ignored:
        print_text(f"amop: ignored columns: {', '.join(ignored)}", to_stderr=True)
    print_figures(figures, title="Optimization")
    if isinstance(answer, _PointAnswer):
        for row in rows:
            answer.print_explanation(row)


@dataclass(frozen=True, slots=True)
class _PointAnswer:
    """The least bill at the usage of the devices file."""

    result: OptimizationResult

    @classmethod
    def of(cls, inputs: OptimizationInputs, **options: Any) -> _PointAnswer:
        try:
            return cls(optimize(inputs.devices, inputs.rate_plans, inputs.eligibility, **options))
        except OptimizerInputError as error:
            raise inputs.locate(error) from None

    def verify(self) -> None:
        verify(self.result.certificate, self.result.model, self.result.assignment)

    def figures(self, seconds: float) -> dict[str, Any]:
        return result_figures(self.result, seconds)

    def print_explanation(self, row: int) -> None:
        result = self.result
        explanation = explain(result.model, result.assignment, FinalPrices.of(result.certificate), row)
        print_explanation(_console(), explanation, result.model.rate_plans)


@dataclass(frozen=True, slots=True)
class _ExpectedAnswer:
    """The least expected bill over scenarios of the usage."""

    result: ExpectedResult
    interval: RiskFigures
    """What its assignment costs in the scenarios that state the interval of the bill."""

    @classmethod
    def of(cls, inputs: OptimizationInputs, scenarios: ScenarioFile, **options: Any) -> _ExpectedAnswer:
        usage = scenarios.usage
        try:
            result = optimize_expected(inputs.devices, inputs.rate_plans, inputs.eligibility, usage, **options)
            return cls(result, interval_of(scenarios, result))
        except OptimizerInputError as error:
            raise inputs.locate(error) from None

    def verify(self) -> None:
        point = self.result.point
        verify(point.certificate, point.model, point.assignment)
        verify_scenarios(self.result.certificate, self.result.bills, self.result.assignment)
        if self.result.risk_proof is not None:
            verify_risk(self.result.risk_proof, self.result.bills, self.result.assignment)

    def figures(self, seconds: float) -> dict[str, Any]:
        return expected_figures(self.result, self.interval, seconds)


@contextlib.contextmanager
def expected_errors(no_proof: str) -> Iterator[None]:
    """Print expected errors as one message without a traceback, and exit.

    Args:
        no_proof: what it means that a proof does not hold.
    """
    try:
        yield
    except InputFileError as error:
        _fail(str(error), WRONG_USAGE)
    except CertificateError as error:
        _fail(f"{no_proof}: {error}", FAILED)
    except OSError as error:
        _fail(f"{error.filename or 'a file'} cannot be written: {error.strerror}; nothing was written", FAILED)


def _fail(message: str, exit_status: int) -> NoReturn:
    print_text(f"amop: {message}", to_stderr=True)
    raise typer.Exit(exit_status)


def _check_paths(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Check that the outputs can be written, before the optimization starts."""
    for number, path in enumerate(outputs):
        if not path.parent.is_dir():
            raise InputFileError(f"{path}: the folder {str(path.parent)!r} does not exist; nothing was written")
        if path.is_dir():
            raise InputFileError(f"{path} is a folder; nothing was written")
        if path.resolve() in {other.resolve() for other in [*inputs, *outputs[:number]]}:
            raise InputFileError(f"{path} is given twice, or is an input; nothing was written")


def _saving(text: str) -> Decimal:
    try:
        units = micro(text.strip())
    except OptimizerInputError as error:
        raise InputFileError(f"--min-saving: {error}") from None
    if units < 0:
        raise InputFileError(f"--min-saving: {text!r} is negative")
    return Decimal(units).scaleb(-6)


def _risk_weight(text: str) -> Decimal:
    try:
        return Decimal(risk_weight_units(text.strip())) / UNITS
    except OptimizerInputError as error:
        raise InputFileError(f"--risk-weight: {error}") from None


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
    """Show the steps with a bar on a terminal, and nothing elsewhere; yield a function that begins a step."""
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
    return console if console.is_terminal else Console(width=PIPE_COLUMNS)  # no folded cells


def print_figures(figures: Mapping[str, Any], *, title: str) -> None:
    """Print the figures as a table on a terminal, else one line per figure with its name and value."""
    console = _console()
    if not console.is_terminal:
        for name, value in figures.items():
            if name != POOLS:
                print_text(f"{name} {value}")
        for pool in figures.get(POOLS, []):
            print_text(_pool_sentence(pool))
        return
    table = Table(title=title, title_justify="left", show_edge=False, show_header=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("", style="dim")
    notes = _notes(figures)
    for name, value in figures.items():
        if name == POOLS:
            continue
        text = f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if name in GAPS else _grouped(value)
        table.add_row(name.replace("_", " "), text, notes.get(name, ""))
    console.print(table)
    for pool in figures.get(POOLS, []):
        console.print(escape(printable(_pool_sentence(pool))), highlight=False)


def _notes(figures: Mapping[str, Any]) -> dict[str, str]:
    """Return what some figures mean."""
    notes = {"proved_lower_bound": "no assignment costs less", "lower_bound": "no assignment costs less"}
    if "claimed_lower_bound" in figures and figures["claimed_lower_bound"] != figures["proved_lower_bound"]:
        notes["claimed_lower_bound"] = "rests on branch and bound"
    if "gap" in figures:
        least = Decimal(figures["total_cost"]) - Decimal(figures["lower_bound"])
        notes["gap"] = f"at most {least} above the optimum"
        notes["savings"] = _share(Decimal(figures["savings"]), Decimal(figures["current_cost"]), "of the current cost")
        notes["status"] = "of the objective" if "objective" in figures else ""
    return notes


def _pool_sentence(pool: Mapping[str, Any]) -> str:
    return (
        f"{pool['pool']}: probability of overage {pool['overage_probability']:.3f}, expected overage "
        f"{pool['expected_overage']}"
    )


def _grouped(value: object) -> str:
    """Return money with its thousands grouped, any other value as it is."""
    text = str(value)
    whole, point, fraction = text.partition(".")
    return f"{int(whole):,}{point}{fraction}" if len(fraction) == 6 and whole.lstrip("-").isdigit() else text


def _share(part: Decimal, whole: Decimal, of_what: str) -> str:
    return f"{part / whole:.2%} {of_what}" if whole else ""
