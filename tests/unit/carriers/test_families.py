"""The registry of the carrier API families."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amop.carriers.account import CarrierAccount
from amop.carriers.errors import CarrierConnectionError
from amop.carriers.registry import CLIENTS, client_of
from amop.config import INTEGRATIONS, KNOWN_INTEGRATIONS, Integration
from amop.families import BINARY_MEGABYTE, DECIMAL_MEGABYTE, FAMILIES, UnknownFamilyError, count_rules
from sandbox.carrier.running import FAMILY_SERVERS
from tests.worlds.family_parts import CARRIERS_PAGE, SHAPES, missing_parts
from tests.worlds.open_gate import OpenGate

ACCOUNT = CarrierAccount("carrier_x_1", "Example Carrier", "https://carrier.example", "user", "key")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_all_parts_of_the_recipe(name: str) -> None:
    page = CARRIERS_PAGE.read_text("utf-8")
    assert missing_parts(name, clients=CLIENTS, servers=FAMILY_SERVERS, shapes=SHAPES, page=page) == []


def test_no_client_no_server_and_no_shapes_are_without_a_family() -> None:
    with_client = {name for name, family in FAMILIES.items() if family.has_client}
    assert set(CLIENTS) == set(FAMILY_SERVERS) == {path.name for path in SHAPES.iterdir()} == with_client


def test_an_unknown_family_fails_where_the_integration_is_declared_and_is_named() -> None:
    with pytest.raises(
        UnknownFamilyError, match=r"integration bell names the carrier API family 'jaspr'.*known: .*teal"
    ):
        Integration("bell", "Bell", "jaspr", 0, False, "0 4 * * *")


def test_an_integration_that_is_optimized_has_the_megabyte_of_the_bill() -> None:
    with pytest.raises(ValueError, match="integration teal: family teal has megabytes of 1000000 bytes"):
        replace(KNOWN_INTEGRATIONS["teal"], supports_optimization=True)


def test_the_optimized_integrations_are_exactly_four() -> None:
    optimized = [name for name, integration in KNOWN_INTEGRATIONS.items() if integration.supports_optimization]
    assert optimized == ["jasper", "pod19", "tmobile_jasper", "rogers"]


def test_only_integrations_with_a_client_have_dags_and_the_others_have_no_schedule() -> None:
    assert {name for name, integration in KNOWN_INTEGRATIONS.items() if integration.schedule} == set(INTEGRATIONS)


def test_keys_portals_and_megabytes_are_those_of_the_existing_system() -> None:
    keys = {name: integration.daily_sync_key for name, integration in KNOWN_INTEGRATIONS.items()}
    assert keys == dict.fromkeys(("jasper", "pod19", "tmobile_jasper", "rogers"), "jasper_devices") | {
        "thingspace": "thingspace_devices",
        "teal": "teal_devices",
        "pond": "pond_inventories",
        "telegence": "telegence_devices",
        "ebonding": "ebonding_devices",
    }
    mobility = [name for name, integration in KNOWN_INTEGRATIONS.items() if integration.portal_type_id == 2]
    assert mobility == ["telegence", "ebonding"]
    decimal = [name for name, family in FAMILIES.items() if family.megabyte == DECIMAL_MEGABYTE]
    assert decimal == ["teal"]
    assert all(family.megabyte == BINARY_MEGABYTE for name, family in FAMILIES.items() if name != "teal")


def test_a_family_without_a_client_is_never_called_with_the_api_of_another() -> None:
    for name, family in FAMILIES.items():
        if family.has_client:
            continue
        with pytest.raises(CarrierConnectionError, match=rf"has no client of .* \({name}\)"):
            client_of(name, ACCOUNT, OpenGate())
    with pytest.raises(UnknownFamilyError, match="Example Carrier"):
        client_of("jaspr", ACCOUNT, OpenGate())


def test_the_count_rules_are_those_of_the_families() -> None:
    rules = count_rules()
    assert set(rules) == set(FAMILIES)
    assert rules["control_center"] == {"ignores_deleted": False, "maximum_retries": None}
    assert rules["telegence"] == {"ignores_deleted": True, "maximum_retries": 5}


@pytest.mark.parametrize(
    ("name", "identifier", "accepted"),
    [
        ("control_center", "8988216716970004975", True),
        ("control_center", "89882167169700049", False),
        ("control_center", 8988216716970004975, False),
        ("teal", "89049032000001000000043598005455", True),
        ("teal", "8988216716970004975", False),
    ],
)
def test_the_identifier_rule_is_that_of_the_family(name: str, identifier: object, accepted: bool) -> None:
    assert FAMILIES[name].identifier.accepts(identifier) is accepted
