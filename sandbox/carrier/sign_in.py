"""What the Airflow connection of a sandbox account needs besides user and key, by the carrier's API."""

from __future__ import annotations

from sandbox.carrier.catalogue import ServiceProvider


def application_of(user: str) -> str:
    """Return the OAuth client id of an account at ThingSpace."""
    return f"app_{user}"


def account_name_of(provider: ServiceProvider) -> str:
    """Return the name of a provider's account at ThingSpace."""
    return f"{provider.id:010d}-00001"


def connection_extra(provider: ServiceProvider, api_key: str) -> dict[str, object]:
    """Return the extra of the connection of a provider's account."""
    if provider.family != "thingspace":
        return {}
    return {
        "client_id": application_of(provider.api_user),
        "client_secret": api_key,
        "account_name": account_name_of(provider),
    }
