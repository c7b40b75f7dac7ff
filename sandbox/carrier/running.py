"""Run the sandbox carrier in a thread, for tests: ``with running_carrier() as carrier: carrier.base_url``."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.carrier.account import ListLimit
from sandbox.carrier.build import OPTIMIZED_INTEGRATIONS, AccountSettings, build_carrier
from sandbox.http_server import BackgroundServer


class RunningCarrier:
    """Control a sandbox carrier that runs in a thread, through its admin endpoints."""

    def __init__(self, background: BackgroundServer, accounts: Sequence[AccountSettings], api_key: str) -> None:
        self._background = background
        self.base_url = background.base_url
        self.port = background.port
        self.accounts = [settings.user for settings in accounts]
        """API user names."""
        self.api_key = api_key
        """API key of every account."""

    def __repr__(self) -> str:
        """Return the address only, so that the API key never appears in a log."""
        return f"RunningCarrier({self.base_url})"

    def stats(self, account: str | None = None) -> dict[str, Any]:
        """Return the call counters of one account, or of the whole server if ``account`` is None."""
        stats: dict[str, Any] = self._background.request("GET", "/sandbox/stats")
        return stats if account is None else stats["accounts"][account]

    def reset_stats(self) -> None:
        """Reset all call counters to zero."""
        self._background.request("DELETE", "/sandbox/stats")

    def truth(self, account: str | None = None) -> dict[str, Any]:
        """Return the true data of an account (default: the first one), with its SIMs under ``devices`` by ICCID."""
        truth: dict[str, Any] = self._background.request("GET", f"/sandbox/truth/{account or self.accounts[0]}")
        return truth

    def add_fault(self, **fault: Any) -> None:
        """Script a fault from the fields of `sandbox.carrier.faults.Fault`."""
        self._background.request("POST", "/sandbox/faults", fault)

    def faults(self) -> list[dict[str, Any]]:
        """Return the scripted faults, each with the number of calls it was applied to."""
        faults: list[dict[str, Any]] = self._background.request("GET", "/sandbox/faults")
        return faults

    def clear_faults(self) -> None:
        """Delete all scripted faults."""
        self._background.request("DELETE", "/sandbox/faults")

    def reject_api_key(self, account: str | None = None) -> None:
        """Answer 401 to every call of an account (default: the first one)."""
        self._set_key_state(account, is_wrong=True)

    def accept_api_key(self, account: str | None = None) -> None:
        """Accept the API key of an account (default: the first one) again."""
        self._set_key_state(account, is_wrong=False)

    def _set_key_state(self, account: str | None, *, is_wrong: bool) -> None:
        body = {"account": account or self.accounts[0], "is_wrong": is_wrong}
        self._background.request("POST", "/sandbox/password", body)

    def change_devices(self, iccids: Sequence[str], *, account: str | None = None, **values: Any) -> None:
        """Set fields of SIMs by their names in `sandbox.carrier.fleet.Sim`; ``extra`` sets raw JSON values."""
        body = {"account": account or self.accounts[0], "iccids": list(iccids), "set": values}
        self._background.request("POST", "/sandbox/devices", body)

    def use_until(self, moment: datetime, *, account: str | None = None) -> None:
        """Set the usage counters of an account (default: the first one) to a time within its billing period."""
        body = {"account": account or self.accounts[0], "until": moment.isoformat()}
        self._background.request("POST", "/sandbox/usage", body)

    def end_tokens(self, *kinds: str, account: str | None = None) -> None:
        """End the tokens of a ThingSpace account (default: the first one): ``access``, ``session``."""
        body = {"account": account or self.accounts[0], "end": list(kinds)}
        self._background.request("POST", "/sandbox/tokens", body)

    def set_polls(self, polls: int, *, account: str | None = None) -> None:
        """Have every further operation of a Teal account (default: the first one) answer 102 this often."""
        body = {"account": account or self.accounts[0], "polls": polls}
        self._background.request("POST", "/sandbox/operations", body)

    def remove_devices(self, iccids: Sequence[str], *, account: str | None = None) -> None:
        """Remove SIMs from the carrier's list."""
        body = {"account": account or self.accounts[0], "iccids": list(iccids), "remove": True}
        self._background.request("POST", "/sandbox/devices", body)


@contextmanager
def running_carrier(
    *,
    devices_per_account: int = 100,
    seed: int = 7,
    as_of: datetime | None = None,
    accounts: Sequence[str] = OPTIMIZED_INTEGRATIONS,
    api_key: str | None = None,
    latency_ms: float = 0,
    state_file: Path | None = None,
    limits_are_enforced: bool = True,
    list_limit: ListLimit = ListLimit.NONE,
    usage_by_plan_of_use: Collection[str] = (),
    port: int = 0,
) -> Iterator[RunningCarrier]:
    """Run a sandbox carrier on a loopback port.

    Args:
        devices_per_account: number of SIMs in each account.
        seed: seed of the fleets.
        as_of: see `build_carrier`.
        accounts: ``INTEGRATION`` or ``INTEGRATION:USER``; the user is ``api_<integration>`` by default.
        api_key: API key of every account; None generates one.
        latency_ms: mean response time.
        state_file: JSON file that keeps plan changes across restarts.
        limits_are_enforced: False counts violations of the vendor's limits without refusing the calls.
        list_limit: how the carrier limits the dates of a device list.
        usage_by_plan_of_use: API users whose bulk usage is given for the rate plan that it was used on.
        port: TCP port; 0 picks a free one.
    """
    settings = [AccountSettings.parse(text) for text in accounts]
    key = api_key or secrets.token_urlsafe(16)
    server = build_carrier(
        accounts=settings,
        keys={account.user: key for account in settings},
        devices_per_account=devices_per_account,
        seed=seed,
        as_of=as_of,
        latency_ms=latency_ms,
        state_file=state_file,
        limits_are_enforced=limits_are_enforced,
        list_limit=list_limit,
        usage_by_plan_of_use=usage_by_plan_of_use,
    )
    background = BackgroundServer(server.application(), port=port)
    background.start()
    try:
        yield RunningCarrier(background, settings, key)
    finally:
        background.stop()


FAMILY_SERVERS: dict[str, Callable[..., AbstractContextManager[RunningCarrier]]] = {
    "control_center": running_carrier,
    "thingspace": partial(running_carrier, accounts=("thingspace",)),
    "teal": partial(running_carrier, accounts=("teal",)),
}
"""Family of carrier APIs → its sandbox server."""
