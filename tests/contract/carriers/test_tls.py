"""TLS of carriers, AMOP and AWS against a real HTTPS server: no untrusted certificate is accepted."""

from __future__ import annotations

import ast
import io
import ipaddress
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierConnectionError, CarrierUnavailableError
from amop.carriers.http_connection import HttpConnectionError, read_http_connection
from amop.messages.amop_client import AmopClient, AmopConnectionError, AmopUnavailableError
from tests.worlds.canaries import find
from tests.worlds.moments import machine_time
from tests.worlds.reliability import RecordFault

ROOT = Path(__file__).resolve().parents[3]
NAME = "api.carrier.example"
"""A host that is not a loopback address; the tests resolve it to the server."""
KEY = "canary-api-key-4711"


class Handler(BaseHTTPRequestHandler):
    """A server that answers every request and records the credentials that it received."""

    def _answer(self) -> None:
        self.server.credentials.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"iccid": "1"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 (names of http.server)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Server:
    port: int
    ca: Path
    credentials: list[str | None]


def _certificate(folder: Path, name: str, *, days: int = 1) -> tuple[Path, Path]:
    """Write a self-signed certificate for a name, and its key; a certificate of zero days has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = machine_time() - timedelta(days=2)  # OpenSSL has no other clock
    alternatives = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1 + 2 * days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = folder / f"{name}.key"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_file


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start HTTPS servers; every name of the tests resolves to the loopback address."""
    servers = []

    def start(certificate_name: str = NAME, **certificate: Any) -> Server:
        pem, key_file = _certificate(tmp_path, certificate_name, **certificate)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.credentials = []  # type: ignore[attr-defined]
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are expected
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key_file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return Server(server.server_port, pem, server.credentials)  # type: ignore[attr-defined]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: real(
            "127.0.0.1" if str(host).endswith(".example") else host, *rest, **more)
    )  # fmt: skip
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def call_carrier(dsn: str, port: int, *, host: str = NAME, **extra: Any) -> dict[str, Any]:
    account = CarrierAccount.from_connection_fields(
        connection_id="carrier_x", service_provider_name="AT&T", host=f"https://{host}", schema=None, port=port,
        login="user", password=KEY, extra={"calls_per_second": 1000} | extra,
    )  # fmt: skip
    gate = PostgresCallGate(dsn, account.gate_key, account.calls_per_second)
    with ControlCenterClient(account, gate, sleep=lambda _: None) as client:
        return client.device_details("1")


def call_amop(port: int, *, host: str = NAME, **extra: Any) -> None:
    with AmopClient.from_connection_fields(
        host=f"https://{host}", schema=None, port=port, password=KEY,
        extra={"progress_path": "/p", "sync_path": "/s"} | extra,
    ) as client:  # fmt: skip
        client.post("progress", {}, "key")


@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
def test_an_untrusted_certificate_gets_no_request_and_no_key(
    warehouse_dsn: str, serve: Callable[..., Server], host: str, reliability: RecordFault
) -> None:
    server = serve()
    with pytest.raises(CarrierUnavailableError, match="SSLError"):
        call_carrier(warehouse_dsn, server.port, host=host)
    with pytest.raises(AmopUnavailableError, match="SSLError"):
        call_amop(server.port, host=host)
    assert server.credentials == []
    reliability(
        fault="untrusted certificate, by name and by address", injected=2,
        expected="0 requests with a key", seen=f"{len(server.credentials)} requests with a key",
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHTTPSVERIFY": "0"},
        {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""},
        {"REQUESTS_CA_BUNDLE": "0", "CURL_CA_BUNDLE": "false"},
        {"SSL_CERT_FILE": "/dev/null", "SSL_NO_VERIFY": "1", "NODE_TLS_REJECT_UNAUTHORIZED": "0"},
    ],
)  # fmt: skip
def test_no_environment_variable_disables_verification(
    warehouse_dsn: str,
    serve: Callable[..., Server],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    reliability: RecordFault,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server = serve()
    with pytest.raises((CarrierUnavailableError, OSError)):
        call_carrier(warehouse_dsn, server.port)
    with pytest.raises(AmopUnavailableError):
        call_amop(server.port)
    assert server.credentials == []
    reliability(
        fault="environment variables that disable verification in other clients", injected=2,
        expected="0 requests with a key", seen=f"{len(server.credentials)} requests with a key",
    )  # fmt: skip


def test_with_the_ca_in_the_connection_the_same_server_is_trusted(
    warehouse_dsn: str, serve: Callable[..., Server]
) -> None:
    server = serve()
    assert call_carrier(warehouse_dsn, server.port, verify=str(server.ca)) == {"iccid": "1"}
    call_amop(server.port, verify=str(server.ca))
    assert len(server.credentials) == 2


def test_with_the_ca_in_the_environment_the_same_server_is_trusted(
    warehouse_dsn: str, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
    assert call_carrier(warehouse_dsn, server.port) == {"iccid": "1"}
    call_amop(server.port)


@pytest.mark.parametrize("certificate", [{"certificate_name": "other.example"}, {"days": 0}])
def test_a_certificate_for_another_name_or_an_expired_one_is_refused_despite_the_ca(
    warehouse_dsn: str, serve: Callable[..., Server], certificate: dict[str, Any], reliability: RecordFault
) -> None:
    server = serve(**certificate)
    with pytest.raises(CarrierUnavailableError, match="SSLError"):
        call_carrier(warehouse_dsn, server.port, verify=str(server.ca))
    with pytest.raises(AmopUnavailableError, match="SSLError"):
        call_amop(server.port, verify=str(server.ca))
    assert server.credentials == []
    reliability(
        fault="certificate of a trusted authority, for another name or expired", injected=2,
        expected="0 requests with a key", seen=f"{len(server.credentials)} requests with a key",
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request is being made to host '127.0.0.1'")
@pytest.mark.parametrize("off", [False, "false", "False", "0", "no", "off", "None", ""])
def test_a_connection_that_disables_verification_is_refused_unless_it_is_on_loopback(
    warehouse_dsn: str, serve: Callable[..., Server], off: Any, reliability: RecordFault
) -> None:
    server = serve()
    says = "its extra disables the verification of the certificate; remove verify"
    with pytest.raises(CarrierConnectionError, match=f"AT&T: connection carrier_x: {says}"):
        call_carrier(warehouse_dsn, server.port, verify=off)
    with pytest.raises(AmopConnectionError, match=f"connection amop_api: {says}"):
        call_amop(server.port, verify=off)
    assert server.credentials == []
    reliability(
        fault="connection whose extra disables verification", injected=2, expected="refused, 0 requests with a key",
        seen=f"refused, {len(server.credentials)} requests with a key",
    )  # fmt: skip
    if off is False:
        assert call_carrier(warehouse_dsn, server.port, host="127.0.0.1", verify=off) == {"iccid": "1"}


def test_aws_calls_verify_certificates_too(airflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk.exceptions import AirflowFailException

    from amop.tasks.connections import aws_hook

    def hook(**extra: Any) -> Any:
        connection = {"conn_type": "aws", "extra": {"region_name": "us-east-1"} | extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        return aws_hook(S3Hook)

    assert hook().verify is None  # botocore's default: verified
    for off in (False, "false"):
        with pytest.raises(AirflowFailException, match="connection aws_default: its extra disables the verification"):
            hook(verify=off)
        with pytest.raises(AirflowFailException, match="connection aws_default: its extra disables the verification"):
            hook(verify=off, endpoint_url="https://s3.example.com")
    assert hook(verify=False, endpoint_url="http://127.0.0.1:5000").verify is False


@pytest.fixture
def detailed_log(airflow_database: Path) -> Iterator[io.StringIO]:
    """Record the messages of all loggers, however Airflow and earlier tests have configured logging."""
    import airflow.providers.amazon.aws.hooks.sqs  # noqa: F401 importing Airflow configures logging

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    loggers = [root, *(known for known in root.manager.loggerDict.values() if isinstance(known, logging.Logger))]
    before = [(logger, logger.level, logger.disabled, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled, logger.propagate = False, True
    root.addHandler(handler)
    yield log
    root.removeHandler(handler)
    for logger, level, disabled, propagate in before:
        logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate


def test_the_aws_secret_is_in_no_error_and_no_debug_log(
    monkeypatch: pytest.MonkeyPatch, detailed_log: io.StringIO
) -> None:
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook
    from botocore.exceptions import EndpointConnectionError

    from amop.tasks.connections import aws_hook

    extra = {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:1"}
    connection = {"conn_type": "aws", "login": "user", "password": KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    with pytest.raises(EndpointConnectionError) as failed:
        aws_hook(SqsHook).get_conn().get_queue_url(QueueName="x")
    text = detailed_log.getvalue()
    assert "get_queue_url" in text or "GetQueueUrl" in text  # the log was detailed
    assert find({"AWS": KEY}, [("log", text.encode()), ("error", repr(failed.value).encode())]) == []


@pytest.mark.parametrize(
    ("host", "schema"),
    [
        ("http://api.example.com", None), ("api.example.com", "http"), ("http://10.0.0.1", None),
        ("http://127.0.0.1.example.com", None), ("http://localhost.example.com", None), ("http://0.0.0.0", None),
        ("http://[::ffff:10.0.0.1]", None), ("http://2130706433", None), ("HTTP://api.example.com", None),
    ],
)  # fmt: skip
def test_without_tls_only_loopback_is_called(host: str, schema: str | None) -> None:
    with pytest.raises(HttpConnectionError, match="it has no TLS; use https"):
        read_http_connection(host, schema, None, {})
    fields: dict[str, Any] = {"host": host, "schema": schema, "port": None, "password": KEY}
    with pytest.raises(CarrierConnectionError, match="has no TLS"):
        CarrierAccount.from_connection_fields(
            connection_id="c", service_provider_name="AT&T", login="user", extra={}, **fields
        )
    with pytest.raises(AmopConnectionError, match="has no TLS"):
        AmopClient.from_connection_fields(extra={"progress_path": "/p", "sync_path": "/s"}, **fields)


@pytest.mark.parametrize(
    "host",
    ["http://127.0.0.1@api.example.com", "https://user:pw@api.example.com", "https://a b.example.com",
     "https://api.example.com\r\nX: y", "https://api.example.com\\@evil.example", "https://api.example.com?a=b",
     "https://api.example.com#x", "https://[::1", "https://", "ftp://api.example.com", "https://api.example.com:port"],
)  # fmt: skip
def test_a_host_that_two_parsers_may_read_differently_is_refused(host: str) -> None:
    with pytest.raises(HttpConnectionError, match="host"):
        read_http_connection(host, None, None, {})


def test_a_missing_ca_file_is_named(tmp_path: Path) -> None:
    for wrong in (str(tmp_path / "missing.pem"), 5, ["x"]):
        with pytest.raises(HttpConnectionError, match="extra verify must be the path, on this machine"):
            read_http_connection("https://api.example.com", None, None, {"verify": wrong})


def test_no_code_disables_verification() -> None:
    """Every `verify` comes from the only function that decides about it."""
    found = []
    for folder in ("plugins", "dags"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in {"CERT_NONE", "_create_unverified_context"}:
                    found.append(f"{path.name}: {ast.unparse(node)}")
                if isinstance(node, ast.keyword) and node.arg in {"verify", "check_hostname", "verify_ssl", "ssl"}:
                    found.append(f"{path.name}: {node.arg}={ast.unparse(node.value)}")
                target = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
                if target.endswith((".verify", ".check_hostname", ".verify_mode")):
                    found.append(f"{path.name}: {ast.unparse(node)}")
    assert sorted(found) == [
        "amop_client.py: client._session.verify = address.verify",
        "http_client.py: self._session.verify = account.verify",
    ]
