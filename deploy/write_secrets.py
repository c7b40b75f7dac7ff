"""Write the secrets of ``docker-compose.yaml``, one file for each role; what exists is left alone.

    python3 deploy/write_secrets.py             # then edit secrets/connections.json and secrets/variables.json
    python3 deploy/write_secrets.py --sandbox   # with the sandbox's carrier, AMOP and AWS
    python3 deploy/write_secrets.py --secrets /srv/amop/secrets

The folder is closed to other users of the machine. The files in it are readable by all, because Compose mounts each as
it is into containers whose users have other numbers. Needs Python 3.9 or newer and nothing else.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
from pathlib import Path

PASSWORDS = (
    "postgres_password",
    "airflow_password",
    "amop_owner_password",
    "amop_runtime_password",
    "amop_reader_password",
    "redis_password",
    "api_secret_key",
    "jwt_secret",
    "admin_password",
    "amop_starter_password",
    "sandbox_carrier_api_key",
    "sandbox_amop_token",
)
"""Files with a random text of letters and digits, which needs no escaping in an address."""
BYTES = 32
CARRIERS = ("jasper", "pod19", "tmobile_jasper", "rogers", "thingspace", "teal")
AUTHORITY = "/certificates/ca.pem"
EDIT_ME = "EDIT_ME"


def write_once(path: Path, content: str) -> str:
    """Write a file unless it exists; return what it contains then."""
    if not path.exists():
        path.write_text(content, encoding="utf-8")
        path.chmod(0o444 if path.suffix != ".json" else 0o644)
    return path.read_text(encoding="utf-8")


def warehouse(role: str, password: str) -> dict[str, object]:
    """Return Airflow's connection to the warehouse as one of its roles."""
    return {
        "conn_type": "postgres",
        "host": "postgres",
        "port": 5432,
        "schema": "warehouse",
        "login": role,
        "password": password,
    }


def outside_connections(found: dict[str, str], *, sandbox: bool) -> dict[str, dict[str, object]]:
    """Return the connections to the carriers, to AMOP and to AWS: the sandbox's, or with fields to be filled in."""
    verify: dict[str, object] = {"verify": AUTHORITY} if sandbox else {}
    paths = {"progress_path": "/api/optimization_progress", "sync_path": "/api/daily_sync"}
    connections: dict[str, dict[str, object]] = {
        "amop_api": {
            "conn_type": "http",
            "host": "https://amop:8020" if sandbox else f"https://{EDIT_ME}",
            "password": found["sandbox_amop_token"] if sandbox else EDIT_ME,
            "extra": paths | verify,
        },
        "aws_default": {
            "conn_type": "aws",
            "login": "sandbox" if sandbox else EDIT_ME,
            "password": "sandbox" if sandbox else EDIT_ME,
            "extra": {"region_name": "us-east-1"} | ({"endpoint_url": "http://aws:5000"} if sandbox else {}),
        },
    }
    for carrier in CARRIERS:
        connections[f"carrier_{carrier}"] = {
            "conn_type": "http",
            "host": "https://carrier:8010" if sandbox else f"https://{EDIT_ME}",
            "login": f"api_{carrier}" if sandbox else EDIT_ME,
            "password": found["sandbox_carrier_api_key"] if sandbox else EDIT_ME,
            "extra": {"calls_per_second": 5} | verify,
        }
    connections["carrier_thingspace"]["extra"] = {
        "calls_per_second": 5,
        "client_id": "app_api_thingspace" if sandbox else EDIT_ME,
        "client_secret": found["sandbox_carrier_api_key"] if sandbox else EDIT_ME,
        "account_name": "0000000005-00001" if sandbox else EDIT_ME,
    } | verify
    connections["carrier_teal"]["extra"] = verify  # its own limit of the registry
    return connections


def variables(*, sandbox: bool) -> dict[str, str]:
    """Return Airflow's Variables: the sandbox's, or none, so that every optional feature is off."""
    if not sandbox:
        return {}
    return {
        "amop_device_notification_queue": "DeviceNotificationQueue",
        "amop_reports_bucket": "amop-reports",
        "amop_mail_from": "optimization@amop.example",
        "amop_mail_to": "operations@amop.example;billing@amop.example",
        "amop_archive_path": "s3://aws_default@amop-archive/carrier",
    }


def write_secrets(folder: Path, *, sandbox: bool) -> list[Path]:
    """Write what is missing; return the files that must be edited."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    found = {name: write_once(folder / name, secrets.token_hex(BYTES)) for name in PASSWORDS}
    write_once(folder / "fernet_key", base64.urlsafe_b64encode(os.urandom(BYTES)).decode())
    runtime = warehouse("amop_runtime", found["amop_runtime_password"])
    files = {
        "connections.json": {"amop_warehouse": runtime} | outside_connections(found, sandbox=sandbox),
        "connections_owner.json": {"amop_warehouse": warehouse("amop_owner", found["amop_owner_password"])},
        "connections_page.json": {
            "amop_warehouse": runtime,
            "amop_page": warehouse("amop_reader", found["amop_reader_password"]),
        },
        "variables.json": variables(sandbox=sandbox),
    }
    written = {name: write_once(folder / name, json.dumps(content, indent=1)) for name, content in files.items()}
    return [folder / name for name, text in written.items() if EDIT_ME in text]


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description="Write the secrets of docker-compose.yaml.")
    parser.add_argument("--secrets", type=Path, default=Path(__file__).resolve().parents[1] / "secrets")
    parser.add_argument("--sandbox", action="store_true", help="connections and Variables of the profile sandbox")
    arguments = parser.parse_args()
    to_edit = write_secrets(arguments.secrets, sandbox=arguments.sandbox)
    print(f"secrets in {arguments.secrets}")
    for path in to_edit:
        print(f"replace every {EDIT_ME} in {path}, and delete the connections that you do not need")


if __name__ == "__main__":
    main()
