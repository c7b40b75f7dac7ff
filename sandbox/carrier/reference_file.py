"""Write the reference file of the sandbox world: tenants, providers, rate plans and communication plans.

``bin/amop load-reference`` loads the file into the warehouse.

    python -m sandbox.carrier.reference_file --out reference.yaml
"""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from sandbox.carrier.catalogue import ALL_PROVIDERS, INTEGRATION_TYPES, TENANTS, ServiceProvider
from sandbox.carrier.fleet import BYTES_PER_MB, generate_fleet


def reference_document(providers: tuple[ServiceProvider, ...] = ALL_PROVIDERS) -> dict[str, Any]:
    """Return the reference data as plain dicts, with money as text."""
    tenants = {provider.tenant_id for provider in providers}
    integrations = {provider.integration for provider in providers}
    return {
        "tenants": [dict(tenant) for tenant in TENANTS if tenant["id"] in tenants],
        "integrations": [
            {"name": name, "integration_type": number}
            for name, number in INTEGRATION_TYPES.items()
            if name in integrations
        ],
        "service_providers": [_provider_document(provider) for provider in providers],
    }


def _provider_document(provider: ServiceProvider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "tenant_id": provider.tenant_id,
        "integration": provider.integration,
        "name": provider.name,
        "connection_id": provider.connection_id,
        "time_zone": provider.time_zone,
        "currency": provider.currency,
        "is_active": True,
        "bill_period_end_day": provider.bill_period_end_day,
        "bill_period_end_hour": provider.bill_period_end_hour,
        "optimization_start_hour_local": 0,
        "uses_proration": provider.uses_proration,
        "prorates_allowance": False,
        "pool_scope": "service_provider",
        "rate_plan_limit": None,
        "write_is_enabled": provider.write_is_enabled,
        "can_auto_update_rate_plans": provider.can_auto_update_rate_plans,
        "approval_above_changes": provider.approval_above_changes,
        "maximum_changes": provider.maximum_changes,
        "detail_calls_per_run": 50,
        "rate_plans": [
            {
                "rate_plan_code": plan.rate_plan_code,
                "version": plan.version,
                "rate_charge": str(plan.rate_charge),
                "base_rate": str(plan.base_rate),
                "plan_mb": str(plan.plan_mb),
                "overage_rate": str(plan.overage_rate),
                "data_per_overage_charge": str(plan.data_per_overage_charge),
                "sms_rate": str(plan.sms_rate),
                "allows_sim_pooling": plan.allows_sim_pooling,
                "pool": plan.pool,
                "is_shared": plan.is_shared,
                "is_retired": False,
            }
            for plan in provider.rate_plans
        ],
        "communication_plans": [
            {"name": plan.name, "rate_plans": list(plan.rate_plans)}
            for plan in provider.communication_plans
            if provider.family == "control_center"
        ],
    }


def reference_yaml(providers: tuple[ServiceProvider, ...] = ALL_PROVIDERS) -> str:
    """Return the reference data as YAML. The text is the same every time."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(reference_document(providers), text)
    return text.getvalue()


def write_reference(path: Path, providers: tuple[ServiceProvider, ...] = ALL_PROVIDERS) -> None:
    """Write the reference file of these providers; the default is the default world."""
    path.write_text(reference_yaml(providers), encoding="utf-8")


def main(
    out: Annotated[str, typer.Option(help="Reference file to write; - means standard output.")] = "-",
    summary: Annotated[bool, typer.Option(help="Print a summary of the fleets instead of writing the file.")] = False,
    devices_per_account: Annotated[int, typer.Option(help="Number of SIMs in each account, for --summary.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the fleets, for --summary.")] = 7,
    as_of: Annotated[
        str | None, typer.Option(help="Time of the usage counters (ISO 8601), for --summary; default: now.")
    ] = None,
) -> None:
    """Write the reference data of the sandbox world: tenants, providers, rate plans, communication plans."""
    if not summary:
        if out == "-":
            typer.echo(reference_yaml(), nl=False)
        else:
            write_reference(Path(out))
        return
    time = datetime.fromisoformat(as_of) if as_of else datetime.now(UTC)
    for provider in ALL_PROVIDERS:
        fleet = generate_fleet(
            integration=provider.integration, device_count=devices_per_account, seed=seed, as_of=time
        )
        typer.echo(f"{fleet.account}: {len(fleet.sims)} SIMs, period {fleet.cycle_start} to {fleet.cycle_end}")
        for code, count in Counter(sim.rate_plan for sim in fleet.sims).most_common():
            used = sum(sim.data_usage for sim in fleet.sims if sim.rate_plan == code) / BYTES_PER_MB
            typer.echo(f"  {code:24} {count:6} SIMs {used:14,.1f} MB")


if __name__ == "__main__":
    typer.run(main)
