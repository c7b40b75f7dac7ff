"""`amop verify`: the proof that `amop optimize` wrote holds, and no other answer or claim does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from amop.cli import main as cli
from bench.instances import make_instance, write_csv
from tests.worlds.optimize_folder import Folder

ROOT = Path(__file__).resolve().parents[3]


class Proofs:
    """The command on the files of a folder."""

    def __init__(self, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.proof, self.answer = folder.path / "P.json", folder.path / "A.csv"

    def optimize(self, *more: str) -> None:
        status, _, error = self.folder.run("--proof", str(self.proof), *more)
        assert (status, error) == (0, "")

    def verify(self) -> tuple[int, dict[str, str], str]:
        """Return the exit status, the figures by name, and the error."""
        names = {"--devices": "devices.csv", "--rate-plans": "rate_plans.csv", "--eligibility": "eligibility.csv"}
        files = {option: self.folder.path / name for option, name in names.items()}
        files |= {"--answer": self.answer, "--proof": self.proof}
        with pytest.raises(SystemExit) as ended:
            cli.main(["verify", *(part for option, path in files.items() for part in (option, str(path)))])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        figures = dict(line.split(" ", 1) for line in captured.out.splitlines())
        return int(ended.value.code or 0), figures, captured.err

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        document = json.loads(self.proof.read_text())
        change(document)
        self.proof.write_text(json.dumps(document))


@pytest.fixture
def proofs(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Proofs:
    return Proofs(folder, capsys)


@pytest.fixture
def with_tree(proofs: Proofs) -> Proofs:
    """An answer whose proof has a tree with splits."""
    write_csv(make_instance("default", 400, plan_count=6), proofs.folder.path)
    proofs.optimize("--time-limit", "0")
    assert len(json.loads(proofs.proof.read_text())["tree"]["trees"][0]["nodes"]) > 3
    return proofs


@pytest.mark.parametrize(
    "options", [[], ["--prorate"], ["--prorate", "--prorate-allowance"], ["--max-changes", "40"], ["--min-saving", "1"]]
)
def test_the_proof_holds_and_has_the_figures_of_the_answer(proofs: Proofs, options: list[str]) -> None:
    write_csv(make_instance("default", 400, plan_count=6), proofs.folder.path)
    proofs.optimize("--time-limit", "0", *options)
    summary = proofs.folder.summary()
    status, figures, error = proofs.verify()
    assert (status, error) == (0, "")
    assert (figures["device_count"], figures["total_cost"]) == ("400", summary["total_cost"])
    assert figures["proved_lower_bound"] == figures["claimed_lower_bound"] == summary["lower_bound"]
    assert float(figures["proved_gap"]) == summary["gap"]
    for name in ("voluntary_changes", "objective"):
        assert figures.get(name, "") == str(summary.get(name, ""))


def test_what_rests_on_branch_and_bound_is_kept_apart(proofs: Proofs) -> None:
    proofs.optimize()
    status, figures, _ = proofs.verify()
    assert (status, figures["total_cost"], figures["claimed_lower_bound"]) == (0, "23.100002", "23.100002")
    assert 0 < Decimal(figures["proved_lower_bound"]) <= Decimal("23.100002")


def test_the_lines_of_the_answer_may_be_in_any_order(with_tree: Proofs) -> None:
    header, *lines = with_tree.answer.read_text().splitlines()
    with_tree.answer.write_text("\n".join([header, *sorted(lines, reverse=True)]))
    assert with_tree.verify()[0] == 0


def test_another_plan_of_one_sim_does_not_have_the_proved_bill(with_tree: Proofs) -> None:
    header, first, *lines = with_tree.answer.read_text().splitlines()
    device, plan = first.split(",")
    other = next(line.split(",")[1] for line in lines if line.split(",")[1] != plan)
    with_tree.answer.write_text("\n".join([header, f"{device},{other}", *lines]))
    status, figures, error = with_tree.verify()
    assert (status, figures) == (1, {})
    assert error.startswith("amop: the proof does not hold: ")


def _raise_price_of_first_leaf(document: dict[str, Any]) -> None:
    leaf = next(node for node in document["tree"]["trees"][0]["nodes"] if isinstance(node[0], list))
    leaf[0][0] += 10**6


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(bill_micro=document["bill_micro"] - 1),
        lambda document: document.update(price_bound_micro=document["price_bound_micro"] + 1),
        lambda document: document.update(lower_bound_micro=document["bill_micro"] + 1),
        lambda document: document["prices"].__setitem__(0, document["prices"][0] + 10**9),
        lambda document: document["pools"].__setitem__(0, "another pool"),
        lambda document: document["tree"].update(bound_micro=document["bill_micro"]),
        lambda document: document["tree"]["trees"][0]["nodes"].pop(),
        lambda document: document["terms"].update(period_days=60, uses_proration=True),
        _raise_price_of_first_leaf,
    ],
)
def test_no_other_claim_holds(with_tree: Proofs, change: Callable[[dict[str, Any]], None]) -> None:
    with_tree.change(change)
    status, figures, error = with_tree.verify()
    assert (status, figures) == (1, {})
    assert error.startswith("amop: the proof does not hold: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("prices"), "prices: Field required"),
        (lambda document: document.update(bill_micro=1.5), "bill_micro: Input should be a valid integer"),
        (lambda document: document.update(price_scale=10**400), "price_scale: Input should be less than or equal to"),
        (lambda document: document.update(certificate=1), "certificate: Extra inputs are not permitted"),
        (lambda document: document["terms"].update(period_days=0), "period_days of terms: Input should be greater"),
    ],
)
def test_a_file_that_is_no_proof_is_refused_with_the_place(
    proofs: Proofs, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    proofs.optimize()
    proofs.change(change)
    status, figures, error = proofs.verify()
    assert (status, figures) == (2, {})
    assert error.startswith(f"amop: {proofs.proof}: not a proof of the optimizer: {message}")


def test_files_that_do_not_belong_together_are_refused(proofs: Proofs, tmp_path: Path) -> None:
    proofs.optimize()
    lines = proofs.answer.read_text().splitlines()
    proofs.answer.write_text("\n".join(lines[:-2]))
    assert "column device_id: 'd3' has no line; of 4 SIMs 2 have none" in proofs.verify()[2]
    proofs.answer.write_text("\n".join([*lines, "d9,small"]))
    assert "line 6, column device_id: 'd9' is not in the devices file" in proofs.verify()[2]
    proofs.answer.write_text("\n".join([*lines[:-1], "d4,huge"]))
    assert "line 5, column rate_plan_code: 'huge' is not in the rate plans file" in proofs.verify()[2]
    proofs.proof.write_text("{")
    assert proofs.verify()[2].startswith(
        f"amop: {proofs.proof}: not a proof of the optimizer: the document: Invalid JSON"
    )
    proofs.proof.unlink()
    assert proofs.verify()[::2] == (2, f"amop: {proofs.proof}: cannot be read: No such file or directory\n")


def test_the_example_of_the_documentation_gives_its_output(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "optimize.md").read_text(encoding="utf-8").partition("## The proof")[2]
    script = text.split("```bash\n")[1].split("```")[0]
    for name in ("answer.csv", "proof.json"):
        script = script.replace(f" {name}", f" {tmp_path / name}")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith(text.split("```text\n")[1].split("```")[0])


def test_scenarios_have_no_proof_file(proofs: Proofs) -> None:
    (proofs.folder.path / "U.csv").write_text("device_id,usage_mb_1\n")
    status, _, error = proofs.folder.run(
        "--proof", str(proofs.proof), "--usage-scenarios", str(proofs.folder.path / "U.csv")
    )
    assert status == 2
    assert "--proof is not possible with --usage-scenarios or --history" in error
