"""The carrier's program: the same fleet for the same settings, a state that survives, and no key that is shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.carrier.build import API_KEY_VARIABLE, AccountSettings
from sandbox.carrier.client import CarrierClient
from sandbox.carrier.running import running_carrier

AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[3]


def test_plan_changes_and_the_fleet_time_survive_a_restart(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "devices_per_account": 120,
        "accounts": ("jasper",),
        "state_file": tmp_path / "state.json",
    }
    with running_carrier(**settings) as carrier:
        client = CarrierClient(carrier)
        sim = next(d for d in client.whole_list() if d["ratePlan"] == "ATT 2 GB")
        assert client.put(sim["iccid"], {"ratePlan": "ATT 10 GB"}).status_code == 200
        truth = carrier.truth()
    with running_carrier(**settings) as carrier:
        assert carrier.truth() == truth
    with running_carrier(**settings, seed=8) as carrier:
        assert sim["iccid"] not in {d["iccid"] for d in carrier.truth()["devices"]}
    assert json.loads((tmp_path / "state.json").read_text())["rate_plans"] == {}


def test_the_same_settings_give_the_same_fleets() -> None:
    settings: dict[str, Any] = {
        "devices_per_account": 50,
        "as_of": AS_OF,
        "accounts": ("pod19", "tmobile_jasper"),
    }
    with running_carrier(**settings) as first, running_carrier(**settings) as second:
        for account in first.accounts:
            assert first.truth(account) == second.truth(account)
        assert first.api_key not in repr(first)


def test_account_settings_name_a_variable_instead_of_a_key() -> None:
    assert AccountSettings.parse("jasper") == AccountSettings("jasper", "api_jasper", API_KEY_VARIABLE)
    assert AccountSettings.parse("rogers:other:KEY_2") == AccountSettings("rogers", "other", "KEY_2")
    with pytest.raises(ValueError, match="verizon"):
        AccountSettings.parse("verizon")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sandbox.carrier", *arguments]


def test_the_command_serves_until_sigterm_and_never_prints_the_key() -> None:
    environment = os.environ | {API_KEY_VARIABLE: "canary-7f3a"}
    process = subprocess.Popen(
        _command("--port", "0", "--devices-per-account", "5", "--accounts", "jasper:someone", "--list-limit", "none"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert "ready: http://127.0.0.1:" in ready
        base_url = ready.split("ready: ")[1].split(" ")[0]
        session = requests.Session()
        session.trust_env = False
        address = f"{base_url}/rws/api/v1/devices?modifiedSince=2000-01-01T00:00:00Z"
        answer = session.get(address, auth=("someone", "canary-7f3a"), timeout=10)
        assert len(answer.json()["devices"]) == 5
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "canary-7f3a" not in ready + rest


def test_the_command_refuses_to_start_without_a_key() -> None:
    environment = {name: value for name, value in os.environ.items() if name != API_KEY_VARIABLE}
    done = subprocess.run(
        _command("--port", "0"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"set the environment variable {API_KEY_VARIABLE}" in done.stderr
