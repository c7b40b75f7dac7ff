"""A carrier account from the fields of an Airflow ``http`` connection."""

from __future__ import annotations

from typing import Any

import pytest

from amop.carriers.account import CarrierAccount
from amop.carriers.errors import CarrierConnectionError, CarrierError

CANARY = "canary-3f9a-api-key"


def account(**fields: Any) -> CarrierAccount:
    given: dict[str, Any] = {
        "connection_id": "carrier_x", "service_provider_name": "AT&T X", "host": "https://api.example.com",
        "schema": None, "port": None, "login": "api_x", "password": CANARY, "extra": {},
    }  # fmt: skip
    return CarrierAccount.from_connection_fields(**given | fields)


@pytest.mark.parametrize(
    ("host", "schema", "port", "base_url"),
    [
        ("https://api.example.com", None, None, "https://api.example.com"),
        ("https://api.example.com/", "", 8443, "https://api.example.com:8443"),
        ("api.example.com", "https", 443, "https://api.example.com:443"),
        ("http://127.0.0.1:8010", None, None, "http://127.0.0.1:8010"),
        ("localhost", "http", 8010, "http://localhost:8010"),
        ("127.8.9.1", "http", 80, "http://127.8.9.1:80"),
        ("http://[::1]:8010", None, None, "http://[::1]:8010"),
    ],
)
def test_both_forms_of_a_connection_give_the_same_kind_of_address(
    host: str, schema: str | None, port: int | None, base_url: str
) -> None:
    assert account(host=host, schema=schema, port=port).base_url == base_url


@pytest.mark.parametrize(
    ("host", "schema"),
    [
        ("http://api.example.com", None),
        ("api.example.com", "http"),
        ("http://localhost.example.com", None),
        ("http://127.0.0.1.example.com", None),
        ("http://10.0.0.1", None),
        ("http://0.0.0.0", None),
    ],
)
def test_connection_without_tls_is_refused_unless_its_host_is_a_loopback_address(host: str, schema: str | None) -> None:
    with pytest.raises(CarrierConnectionError, match="TLS"):
        account(host=host, schema=schema)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": None}, {"host": ""}, {"host": "ftp://api.example.com"}, {"host": "https://"},
        {"host": f"https://user:{CANARY}@api.example.com"}, {"host": "https://api.example.com:port"},
        {"login": None}, {"login": ""}, {"password": None}, {"password": ""},
        {"extra": {"calls_per_second": 0}}, {"extra": {"calls_per_second": -1}},
        {"extra": {"calls_per_second": "many"}}, {"extra": {"calls_per_second": float("nan")}},
        {"extra": {"rate_limit_account": ""}}, {"extra": {"rate_limit_account": True}},
    ],
)  # fmt: skip
def test_unusable_field_is_refused_naming_the_connection_and_never_the_key(fields: dict[str, Any]) -> None:
    with pytest.raises(CarrierError) as refused:
        account(**fields)
    assert "carrier_x" in str(refused.value)
    assert CANARY not in repr(refused.value) + str(refused.value)


def test_key_is_in_no_repr_and_not_in_the_gate_key() -> None:
    one = account()
    assert CANARY not in repr(one) + str(one) + one.gate_key + one.base_url


def test_gate_key_is_that_of_the_api_user_and_not_of_the_connection_or_key() -> None:
    one = account().gate_key
    assert account(connection_id="other", service_provider_name="Other", password="other").gate_key == one
    assert account(login="api_y").gate_key != one
    assert account(host="https://other.example.com").gate_key != one


def test_api_users_of_one_account_share_its_limit_where_the_connections_say_so() -> None:
    one = account(extra={"rate_limit_account": "4711"})
    assert account(login="api_y", extra={"rate_limit_account": 4711}).gate_key == one.gate_key
    assert account(extra={"rate_limit_account": "4712"}).gate_key != one.gate_key
    assert account(login="4711").gate_key != one.gate_key
    assert account().gate_key != one.gate_key


def test_calls_per_second_are_5_unless_the_connection_says_otherwise() -> None:
    assert account().calls_per_second == 5
    assert account(extra={"calls_per_second": "2.5", "other": 1}).calls_per_second == 2.5
