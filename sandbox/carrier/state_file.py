"""Keep the plan changes of a sandbox carrier across restarts."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.carrier.account import CarrierAccount


class StateFile:
    """Store plan changes in a JSON file. The file is replaced atomically, so a crash leaves the previous version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def as_of(self, settings: dict[str, Any]) -> datetime | None:
        """Return the stored time of the fleets, or None if the file is new or was written with other settings."""
        stored = self.document.get("settings", {})
        if {key: stored.get(key) for key in settings} != settings or "as_of" not in stored:
            return None
        return datetime.fromisoformat(stored["as_of"])

    def begin(self, settings: dict[str, Any], as_of: datetime) -> None:
        """Store the settings and time of the fleets. Changes stored with other settings are dropped."""
        stored = self.document.get("settings", {})
        if {key: stored.get(key) for key in settings} != settings:
            self.document = {"rate_plans": {}}
        self.document["settings"] = settings | {"as_of": as_of.isoformat()}
        self._save()

    def restore(self, account: CarrierAccount) -> int:
        """Apply the stored plan changes to an account and return their number."""
        changes = self.document["rate_plans"].get(account.name, {})
        for iccid, change in changes.items():
            if iccid in account.sims:
                updated = datetime.fromisoformat(change["date_updated"])
                account.restore_rate_plan(iccid, change["rate_plan"], change["rate_plan_version"], updated)
        return len(changes)

    def store(self, account: CarrierAccount, iccid: str) -> None:
        """Store the current plan of a SIM. Returns after the file has been written."""
        sim = account.sims[iccid]
        self.document["rate_plans"].setdefault(account.name, {})[iccid] = {
            "rate_plan": sim.rate_plan,
            "rate_plan_version": sim.rate_plan_version,
            "date_updated": sim.date_updated.isoformat(),
        }
        self._save()

    def _save(self) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self.document))
        draft.replace(self.path)
