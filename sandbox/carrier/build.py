"""Build a sandbox carrier: generate the fleets of its accounts and restore the plan changes of earlier runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.carrier.account import CarrierAccount, ListLimit, UsageAttribution
from sandbox.carrier.catalogue import ALL_PROVIDERS, SERVICE_PROVIDERS, provider_of
from sandbox.carrier.fleet import billing_cycle, generate_fleet
from sandbox.carrier.rate_limit import CALLS_PER_WINDOW
from sandbox.carrier.server import CarrierServer
from sandbox.carrier.state_file import StateFile

API_KEY_VARIABLE = "SANDBOX_CARRIER_API_KEY"
OPTIMIZED_INTEGRATIONS = tuple(provider.integration for provider in SERVICE_PROVIDERS)
ALL_INTEGRATIONS = tuple(provider.integration for provider in ALL_PROVIDERS)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The integration, API user and API key variable of one account to serve."""

    integration: str
    user: str
    """API user name."""
    key_variable: str = API_KEY_VARIABLE
    """Name of the environment variable that holds the API key."""

    @classmethod
    def parse(cls, text: str) -> AccountSettings:
        """Parse ``INTEGRATION[:USER[:VARIABLE]]``.

        Raises:
            ValueError: the text has too many parts or names an unknown integration.
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
    calls_per_second: int = CALLS_PER_WINDOW,
    state_file: Path | None = None,
    limits_are_enforced: bool = True,
    list_limit: ListLimit = ListLimit.NONE,
    usage_by_plan_of_use: Collection[str] = (),
    device_counts: Mapping[str, int] | None = None,
) -> CarrierServer:
    """Return a carrier server with generated fleets.

    Args:
        accounts: the accounts to serve.
        keys: API key by API user name.
        devices_per_account: number of SIMs in each account.
        seed: seed of the fleets and of the latency.
        as_of: time of the usage counters. None takes the time in the state file if that lies in the current billing
            period of every account, so that a restart serves the same data; otherwise the present time.
        latency_ms: mean response time; single responses vary by ±25 %.
        calls_per_second: limit of each API user.
        state_file: JSON file that keeps plan changes across restarts.
        limits_are_enforced: False counts violations of the vendor's limits without refusing the calls.
        list_limit: how the carrier limits the dates of a device list.
        usage_by_plan_of_use: API users whose bulk usage is given for the rate plan that it was used on; that of the
            others is given for the SIM's present plan.
        device_counts: number of SIMs by integration, where it is not ``devices_per_account``.

    Raises:
        ValueError: two accounts share a SIM.
    """
    state = StateFile(state_file) if state_file is not None else None
    settings = {"seed": seed, "devices_per_account": devices_per_account}
    as_of = as_of or _saved_time(state, settings, accounts) or datetime.now(UTC)
    if state is not None:
        state.begin(settings, as_of)
    served: list[tuple[CarrierAccount, str]] = []
    iccids: set[str] = set()
    for account_settings in accounts:
        fleet = generate_fleet(
            integration=account_settings.integration,
            account=account_settings.user,
            device_count=(device_counts or {}).get(account_settings.integration, devices_per_account),
            seed=seed,
            as_of=as_of,
        )
        by_plan_of_use = account_settings.user in usage_by_plan_of_use
        account = CarrierAccount(
            fleet,
            list_limit=list_limit,
            usage_attribution=UsageAttribution.PLAN_OF_USE if by_plan_of_use else UsageAttribution.PRESENT_PLAN,
        )
        if not iccids.isdisjoint(account.sims):
            raise ValueError(f"account {account_settings.user!r} has SIMs of another account; choose another user name")
        iccids.update(account.sims)
        if state is not None:
            state.restore(account)
        served.append((account, keys[account_settings.user]))
    return CarrierServer(
        served,
        seed=seed,
        latency_ms=latency_ms,
        calls_per_second=calls_per_second,
        state_file=state,
        limits_are_enforced=limits_are_enforced,
    )


def _saved_time(
    state: StateFile | None, settings: dict[str, Any], accounts: Sequence[AccountSettings]
) -> datetime | None:
    saved = state.as_of(settings) if state is not None else None
    if saved is None:
        return None
    now = datetime.now(UTC)
    providers = [provider_of(account.integration) for account in accounts]
    is_current = all(billing_cycle(saved, provider) == billing_cycle(now, provider) for provider in providers)
    return saved if is_current else None
