"""Run the sandbox carrier: ``SANDBOX_CARRIER_API_KEY=… python -m sandbox.carrier --port 8010``."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sandbox.carrier.account import ListLimit
from sandbox.carrier.build import ALL_INTEGRATIONS, API_KEY_VARIABLE, AccountSettings, build_carrier
from sandbox.carrier.rate_limit import CALLS_PER_WINDOW
from sandbox.http_server import LOOPBACK, serve_until_stopped


def main(
    port: Annotated[int, typer.Option(help="TCP port; 0 picks a free one, which is printed.")] = 8010,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    devices_per_account: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Number of SIMs in each account.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the generated fleets and of the latency.")] = 7,
    as_of: Annotated[
        str | None,
        typer.Option(help="Time of the usage counters (ISO 8601); default: the time in the state file, or now."),
    ] = None,
    accounts: Annotated[
        list[str] | None,
        typer.Option(
            help="An account as INTEGRATION[:USER[:VARIABLE]]; may be repeated. Default: one account for each "
            "integration. USER defaults to api_INTEGRATION. VARIABLE names the environment variable that holds the "
            f"API key; it defaults to {API_KEY_VARIABLE}."
        ),
    ] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="Mean response time; single responses vary by ±25 %.")] = 20,
    calls_per_second: Annotated[int, typer.Option(min=1, help="Limit of each API user.")] = CALLS_PER_WINDOW,
    list_limit: Annotated[
        ListLimit, typer.Option(help="How a device list is limited to a year: none, age, span or end.")
    ] = ListLimit.END,
    usage_by_plan_of_use: Annotated[
        list[str] | None,
        typer.Option(help="API user whose bulk usage is given for the plan that it was used on; may be repeated."),
    ] = None,
    devices_of: Annotated[
        list[str] | None,
        typer.Option(help="INTEGRATION=COUNT, the number of SIMs of an integration's accounts; may be repeated."),
    ] = None,
    state_file: Annotated[Path | None, typer.Option(help="JSON file that keeps plan changes across restarts.")] = None,
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with certificate.pem and key.pem; given, HTTPS is served.")
    ] = None,
) -> None:
    """Serve the sandbox carrier until SIGINT or SIGTERM. Read API keys from environment variables only."""
    try:
        settings = [AccountSettings.parse(text) for text in accounts or ALL_INTEGRATIONS]
        fixed_time = datetime.fromisoformat(as_of) if as_of else None
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
            as_of=fixed_time,
            latency_ms=latency_ms,
            calls_per_second=calls_per_second,
            state_file=state_file,
            list_limit=list_limit,
            usage_by_plan_of_use=usage_by_plan_of_use or (),
            device_counts={name: int(count) for name, _, count in (text.partition("=") for text in devices_of or ())},
        )
    except ValueError as error:
        typer.echo(f"sandbox carrier: {error}", err=True)
        raise typer.Exit(2) from None
    serve_until_stopped(
        server.application(),
        host,
        port,
        lambda address: typer.echo(f"sandbox carrier ready: {address} accounts {', '.join(server.accounts)}"),
        certificates=certificates,
    )


if __name__ == "__main__":
    typer.run(main)
