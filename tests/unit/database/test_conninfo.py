"""Airflow's written forms of a postgres connection, and errors that never repeat a password."""

from __future__ import annotations

import json

import pytest
from psycopg.conninfo import conninfo_to_dict

from amop.database.conninfo import ConnectionFormError, conninfo_from_airflow_connection

PASSWORD = "p@ss:w/o?r#d %'\\ é"
ENCODED = "p%40ss%3Aw%2Fo%3Fr%23d%20%25%27%5C%20%C3%A9"


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (
            "postgresql://amop:secret@db.example:5433/warehouse",
            {"host": "db.example", "port": "5433", "user": "amop", "password": "secret", "dbname": "warehouse"},
        ),
        (
            "postgres://amop@db.example/warehouse",
            {"host": "db.example", "port": "5432", "user": "amop", "dbname": "warehouse"},
        ),
        (
            f"postgres://am%40op:{ENCODED}@127.0.0.1:5432/ware%20house",
            {"host": "127.0.0.1", "port": "5432", "user": "am@op", "password": PASSWORD, "dbname": "ware house"},
        ),
        (
            "postgresql+psycopg://a:b@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&cursor=dictcursor",
            {
                "host": "h",
                "port": "5432",
                "user": "a",
                "password": "b",
                "dbname": "d",
                "sslmode": "verify-full",
                "sslrootcert": "/etc/ca.pem",
            },
        ),
        (
            "postgres://a:b@h/d?__extra__=%7B%22sslmode%22%3A+%22require%22%2C+%22keepalives_idle%22%3A+30%7D",
            {
                "host": "h",
                "port": "5432",
                "user": "a",
                "password": "b",
                "dbname": "d",
                "sslmode": "require",
                "keepalives_idle": "30",
            },
        ),
        ("postgres://a:b@[::1]:6000/d", {"host": "::1", "port": "6000", "user": "a", "password": "b", "dbname": "d"}),
        (
            "postgres://a:b@%2Fvar%2Frun%2FPostgres/d",
            {"host": "/var/run/Postgres", "port": "5432", "user": "a", "password": "b", "dbname": "d"},
        ),
        (
            json.dumps(
                {
                    "conn_type": "postgres",
                    "host": "h",
                    "login": "a",
                    "password": PASSWORD,
                    "schema": "d",
                    "port": 5433,
                    "extra": {"sslmode": "require", "iam": True, "aws_conn_id": "x"},
                }
            ),
            {"host": "h", "port": "5433", "user": "a", "password": PASSWORD, "dbname": "d", "sslmode": "require"},
        ),
        (
            json.dumps(
                {
                    "conn_type": "postgresql",
                    "host": "h",
                    "login": "a",
                    "schema": "d",
                    "port": "5434",
                    "extra": '{"connect_timeout": 7}',
                }
            ),
            {"host": "h", "port": "5434", "user": "a", "dbname": "d", "connect_timeout": "7"},
        ),
        ('  {"conn_type": "postgres", "host": "h", "extra": null}  ', {"host": "h", "port": "5432"}),
    ],
)
def test_both_forms_become_a_libpq_connection_string(value: str, parts: dict[str, str]) -> None:
    assert conninfo_to_dict(conninfo_from_airflow_connection(value)) == parts


def test_extra_cannot_replace_a_field_of_the_connection() -> None:
    conninfo = conninfo_from_airflow_connection("postgres://a:b@h/d?host=evil&user=root&password=x&dbname=y")
    assert conninfo_to_dict(conninfo) == {
        "host": "h",
        "port": "5432",
        "user": "a",
        "password": "b",
        "dbname": "d",
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mysql://a:canary@h/d", "not of type postgres"),
        ("canary", "not of type postgres"),
        ("host=h password=canary", "not of type postgres"),
        ("postgres://a:canary@h:port/d", "malformed"),
        ("postgres://a:can#ary@h/d", "malformed|percent-encoded"),
        ("postgres://a:canary@[::1/d", "malformed"),
        (
            "postgres://a:canary@h/d?__extra__=canary",
            "__extra__ of the connection's URI is not a JSON object",
        ),
        ('{"conn_type": "postgres", "password": "canary"', "the connection is not a JSON object"),
        ('{"conn_type": "http", "password": "canary"}', "not of type postgres"),
        ('{"conn_type": "postgres", "password": ["canary"]}', "the password of the connection is not text"),
        (
            '{"conn_type": "postgres", "password": "can\\u0000ary"}',
            "the password of the connection contains a NUL",
        ),
        ('{"conn_type": "postgres", "extra": "canary"}', "the extra of the connection is not a JSON object"),
        (
            '{"conn_type": "postgres", "extra": ["canary"]}',
            "the extra of the connection is not a JSON object",
        ),
        ('{"conn_type": "postgres", "port": "canary"}', "the port of the connection is not a number"),
    ],
)
def test_a_malformed_connection_is_refused_without_repeating_it(value: str, message: str) -> None:
    with pytest.raises(ConnectionFormError, match=message) as caught:
        conninfo_from_airflow_connection(value)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
