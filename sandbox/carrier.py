"""A carrier to sync from: the part of Cisco Control Center's REST API that the package uses.

It serves several accounts; the account is the API user of HTTP Basic. The vendor's limits (five calls in
any second, one call at a time for each API user) are enforced: a call above them gets 429 with
``Retry-After: 1`` and is counted as a violation. Vendor reference: developer.cisco.com/docs/control-center
(Search Devices, Get Device Details, Get Device Usage, Get Usage by Rate Plan, Edit Device Details).

    SANDBOX_CARRIER_API_KEY=… python -m sandbox.carrier --port 8010

Pages under ``/sandbox/`` ask for no key and are not limited:

* ``GET stats``: per account the calls by endpoint, violations, most calls at once and in any second;
  ``DELETE`` = zero
* ``GET truth/{account}``: every SIM with everything the carrier knows about it
* ``POST faults``: one fault, keys of `sandbox.faults.Fault`; ``GET``, ``DELETE``
* ``POST password`` ``{"account": …, "is_wrong": true}``: every key of that account is refused from now on
* ``POST devices`` ``{"account": …, "iccids": […], "set": {…}}`` or ``"remove": true``: the carrier's data
  changes
* ``POST usage`` ``{"account": …, "until": …}``: its SIMs have used what they use until that moment of the
  billing period; an earlier moment takes it back

In tests: ``with running_carrier(devices_per_account=100) as carrier: carrier.base_url``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from aiohttp import web

from sandbox.background_server import LOOPBACK, BackgroundServer, start_site
from sandbox.carrier_account import CarrierAccount, StateFile
from sandbox.carrier_server import CarrierServer
from sandbox.catalogue import SERVICE_PROVIDERS, provider_of
from sandbox.fleet import billing_cycle, generate_fleet

API_KEY_VARIABLE = "SANDBOX_CARRIER_API_KEY"
ALL_INTEGRATIONS = tuple(provider.integration for provider in SERVICE_PROVIDERS)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """One account to serve."""

    integration: str
    user: str
    """API user name."""
    key_variable: str = API_KEY_VARIABLE
    """Environment variable that holds its API key."""

    @classmethod
    def parse(cls, text: str) -> AccountSettings:
        """Read ``INTEGRATION[:USER[:VARIABLE]]``.

        Raises:
            ValueError: too many parts, or an integration that the sandbox does not have.
        """
        parts = text.split(":")
        if len(parts) > 3 or parts[0] not in ALL_INTEGRATIONS:
            raise ValueError(f"account {text!r} is not INTEGRATION[:USER[:VARIABLE]] with one of {ALL_INTEGRATIONS}")
        user = parts[1] if len(parts) > 1 and parts[1] else provider_of(parts[0]).api_user
        return cls(parts[0], user, parts[2] if len(parts) > 2 else API_KEY_VARIABLE)


def build_carrier(
    *,
    accounts: Sequence[AccountSettings],
    keys: dict[str, str],
    devices_per_account: int = 2000,
    seed: int = 7,
    as_of: datetime | None = None,
    latency_ms: float = 20,
    state_file: Path | None = None,
    limits_are_enforced: bool = True,
) -> CarrierServer:
    """Return a carrier with generated fleets; ``keys`` gives the API key by user name.

    Without ``as_of`` the moment kept in the state file is used while it lies in the present billing period of
    every account, else the present time: a restart finds the same world, a month later it has moved on.

    Raises:
        ValueError: two accounts of one name, or two SIMs of one ICCID.
    """
    state = StateFile(state_file) if state_file is not None else None
    world = {"seed": seed, "devices_per_account": devices_per_account}
    moment = as_of or _kept_moment(state, world, accounts) or datetime.now(UTC)
    if state is not None:
        state.begin(world, moment)
    served: list[tuple[CarrierAccount, str]] = []
    iccids: set[str] = set()
    for settings in accounts:
        fleet = generate_fleet(
            integration=settings.integration,
            account=settings.user,
            device_count=devices_per_account,
            seed=seed,
            as_of=moment,
        )
        account = CarrierAccount(fleet)
        if not iccids.isdisjoint(account.sims):
            raise ValueError(f"account {settings.user!r} has SIMs of another account; give it another name")
        iccids.update(account.sims)
        if state is not None:
            state.restore(account)
        served.append((account, keys[settings.user]))
    return CarrierServer(
        served, seed=seed, latency_ms=latency_ms, state_file=state, limits_are_enforced=limits_are_enforced
    )


def _kept_moment(
    state: StateFile | None, world: dict[str, Any], accounts: Sequence[AccountSettings]
) -> datetime | None:
    kept = state.as_of(world) if state is not None else None
    if kept is None:
        return None
    now = datetime.now(UTC)
    providers = [provider_of(settings.integration) for settings in accounts]
    is_present = all(billing_cycle(kept, provider) == billing_cycle(now, provider) for provider in providers)
    return kept if is_present else None


async def start_carrier(server: CarrierServer, port: int = 0, host: str = LOOPBACK) -> tuple[web.AppRunner, int]:
    """Serve a carrier on this event loop; return its port and its runner, whose ``cleanup()`` stops it."""
    return await start_site(server.application(), port, host)


class RunningCarrier:
    """A carrier in a thread, with its admin pages as methods (over HTTP, like everybody else's)."""

    def __init__(self, background: BackgroundServer, accounts: Sequence[AccountSettings], api_key: str) -> None:
        self._background = background
        self.base_url = background.base_url
        self.port = background.port
        self.accounts = [settings.user for settings in accounts]
        """API user names."""
        self.api_key = api_key
        """API key of every account."""

    def __repr__(self) -> str:
        """Return the address; never the key."""
        return f"RunningCarrier({self.base_url})"

    def stats(self, account: str | None = None) -> dict[str, Any]:
        """Return the figures of an account, or of the server (``accounts``, ``calls``, ``violations``)."""
        stats: dict[str, Any] = self._background.request("GET", "/sandbox/stats")
        return stats if account is None else stats["accounts"][account]

    def reset_stats(self) -> None:
        """Set the figures to zero."""
        self._background.request("DELETE", "/sandbox/stats")

    def truth(self, account: str | None = None) -> dict[str, Any]:
        """Return everything about an account (None = the first one); SIMs under ``devices``, by ICCID."""
        truth: dict[str, Any] = self._background.request("GET", f"/sandbox/truth/{account or self.accounts[0]}")
        return truth

    def add_fault(self, **fault: Any) -> None:
        """Script a fault; keys of `sandbox.faults.Fault`."""
        self._background.request("POST", "/sandbox/faults", fault)

    def faults(self) -> list[dict[str, Any]]:
        """Return the scripted faults with how often each was applied."""
        faults: list[dict[str, Any]] = self._background.request("GET", "/sandbox/faults")
        return faults

    def clear_faults(self) -> None:
        """Forget every scripted fault."""
        self._background.request("DELETE", "/sandbox/faults")

    def make_key_wrong(self, account: str | None = None, *, is_wrong: bool = True) -> None:
        """Refuse every key of an account (None = the first one), or take the right one again."""
        body = {"account": account or self.accounts[0], "is_wrong": is_wrong}
        self._background.request("POST", "/sandbox/password", body)

    def change_devices(self, iccids: Sequence[str], *, account: str | None = None, **values: Any) -> None:
        """Set fields of SIMs at the carrier (names of `sandbox.fleet.Sim`; ``extra`` = raw keys)."""
        body = {"account": account or self.accounts[0], "iccids": list(iccids), "set": values}
        self._background.request("POST", "/sandbox/devices", body)

    def use_until(self, moment: datetime, *, account: str | None = None) -> None:
        """Let the SIMs of an account (None = the first one) use until a moment of its billing period."""
        body = {"account": account or self.accounts[0], "until": moment.isoformat()}
        self._background.request("POST", "/sandbox/usage", body)

    def remove_devices(self, iccids: Sequence[str], *, account: str | None = None) -> None:
        """Make SIMs vanish from the carrier."""
        body = {"account": account or self.accounts[0], "iccids": list(iccids), "remove": True}
        self._background.request("POST", "/sandbox/devices", body)


@contextmanager
def running_carrier(
    *,
    devices_per_account: int = 100,
    seed: int = 7,
    as_of: datetime | None = None,
    accounts: Sequence[str] = ALL_INTEGRATIONS,
    api_key: str | None = None,
    latency_ms: float = 0,
    state_file: Path | None = None,
    limits_are_enforced: bool = True,
    port: int = 0,
) -> Iterator[RunningCarrier]:
    """Run a carrier in a thread on a free loopback port.

    Args:
        devices_per_account: SIMs of each account.
        seed: of the fleets.
        as_of: see `build_carrier`.
        accounts: ``INTEGRATION`` or ``INTEGRATION:USER``; the user is ``api_<integration>`` by default.
        api_key: of every account; None = a generated one.
        latency_ms: mean time of an answer.
        state_file: where plan changes are kept.
        limits_are_enforced: False counts violations without refusing.
        port: 0 = a free one.
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
    )
    background = BackgroundServer(server.application(), port=port)
    background.start()
    try:
        yield RunningCarrier(background, settings, key)
    finally:
        background.stop()


async def _serve(server: CarrierServer, host: str, port: int) -> None:
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    runner, real_port = await start_carrier(server, port, host)
    typer.echo(f"sandbox carrier ready: http://{host}:{real_port} accounts {', '.join(server.accounts)}")
    await stop.wait()
    await runner.cleanup()


def main(
    port: Annotated[int, typer.Option(help="TCP port; 0 = a free one, printed when ready.")] = 8010,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    devices_per_account: Annotated[int, typer.Option(min=0, max=1_000_000, help="SIMs of each account.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the fleets and of the latency.")] = 7,
    as_of: Annotated[
        str | None, typer.Option(help="ISO moment of the fleets; default: the state file's, or now.")
    ] = None,
    accounts: Annotated[
        list[str] | None,
        typer.Option(
            help="INTEGRATION[:USER[:VARIABLE]], once for each account; default: one of each integration, "
            "user api_INTEGRATION. VARIABLE names the environment variable with the API key; default "
            f"{API_KEY_VARIABLE}."
        ),
    ] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="Mean time of an answer, give or take a quarter.")] = 20,
    state_file: Annotated[Path | None, typer.Option(help="JSON file that keeps plan changes across restarts.")] = None,
) -> None:
    """Serve the sandbox carrier until it is told to stop. API keys come from the environment only."""
    try:
        settings = [AccountSettings.parse(text) for text in accounts or ALL_INTEGRATIONS]
        moment = datetime.fromisoformat(as_of) if as_of else None
        missing = sorted(
            {account.key_variable for account in settings} - {name for name in os.environ if os.environ[name]}
        )
        if missing:
            raise ValueError(f"no API key: set the environment variable {', '.join(missing)}")
        server = build_carrier(
            accounts=settings,
            keys={account.user: os.environ[account.key_variable] for account in settings},
            devices_per_account=devices_per_account,
            seed=seed,
            as_of=moment,
            latency_ms=latency_ms,
            state_file=state_file,
        )
    except ValueError as error:
        typer.echo(f"sandbox carrier: {error}", err=True)
        raise typer.Exit(2) from None
    asyncio.run(_serve(server, host, port))


if __name__ == "__main__":
    typer.run(main)
