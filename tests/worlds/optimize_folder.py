"""A folder with the files of ``amop optimize``, and the command on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from amop.cli import main as cli

DEVICES = """device_id,communication_plan,usage_mb,sms_usage,days_active,current_rate_plan
d1,meters,0.4,0,30,small
d2,meters,3.000001,2,30,large
d3,cameras,250,0,10,
d4,cameras,80.5,1,30,pooled 100
"""
RATE_PLANS = """rate_plan_code,rate_charge,base_rate,plan_mb,overage_rate,data_per_overage_charge,sms_rate,\
allows_sim_pooling,pool
small,1.00,0.10,1,0.50,0.1,0.01,false,
large,4,0,50,0.50,1,0,False,
pooled 100,6.5,0,100,1.5,10,0,true,shared
pooled 200,9.000001,0,200,1.50,10.0,0,TRUE,shared
"""
ELIGIBILITY = """communication_plan,rate_plan_code
meters,small
meters,large
cameras,large
cameras,pooled 100
cameras,pooled 200
"""


class Folder:
    """A folder with the three files, and the command on them."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys
        self.write(devices=DEVICES, rate_plans=RATE_PLANS, eligibility=ELIGIBILITY)

    def write(self, **files: str | bytes) -> None:
        for name, text in files.items():
            (self.path / f"{name}.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    def arguments(self, *more: str) -> list[str]:
        files = {"--devices": "devices", "--rate-plans": "rate_plans", "--eligibility": "eligibility", "--out": "A"}
        named = [part for option, name in files.items() for part in (option, str(self.path / f"{name}.csv"))]
        return ["optimize", *named, "--summary", str(self.path / "S.json"), *more]

    def run(self, *more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(self.arguments(*more))
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(ended.value.code or 0), captured.out, captured.err

    def answer(self) -> dict[str, str]:
        with (self.path / "A.csv").open(newline="") as file:
            return {row["device_id"]: row["rate_plan_code"] for row in csv.DictReader(file)}

    def summary(self) -> dict[str, object]:
        return dict(json.loads((self.path / "S.json").read_text()))
