"""Create the SQS queue, the S3 buckets and the SES sender of the sandbox world in an AWS emulator.

python -m sandbox.world.aws_resources http://127.0.0.1:5000
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import boto3
import requests
import typer

REGION = "us-east-1"
QUEUE = "DeviceNotificationQueue"
BUCKET = "amop-reports"
MAIL_FROM = "optimization@amop.example"
MAIL_TO = "operations@amop.example;billing@amop.example"
ARCHIVE_BUCKET = "amop-archive"
ARCHIVE_PATH = f"s3://aws_default@{ARCHIVE_BUCKET}/carrier"


def aws_client(service: str, endpoint_url: str) -> Any:
    """Return a boto3 client of the emulator. The emulator checks no credentials."""
    session = boto3.session.Session(
        region_name=REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 (the emulator checks no credentials)
    )
    return session.client(service, endpoint_url=endpoint_url)


def create_aws_resources(endpoint_url: str) -> None:
    """Create the notification queue and the buckets of reports and archive unless they exist; verify the sender."""
    aws_client("sqs", endpoint_url).create_queue(QueueName=QUEUE)
    s3 = aws_client("s3", endpoint_url)
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=ARCHIVE_BUCKET)
    # The emulator has no console to sign in to, so the sandbox makes reports publicly readable.
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    aws_client("ses", endpoint_url).verify_email_identity(EmailAddress=MAIL_FROM)


def sent_mails(endpoint_url: str) -> list[dict[str, Any]]:
    """Return the e-mails sent through the emulator's SES, with ``source``, ``destinations`` and ``raw_data``."""
    session = requests.Session()
    session.trust_env = False
    response = session.get(f"{endpoint_url}/moto-api/data.json", timeout=30)
    response.raise_for_status()
    return list(response.json().get("ses", {}).get("RawMessage", []))


def main(endpoint_url: Annotated[str, typer.Argument(help="Address of the emulator.")]) -> None:
    """Create the queue, the buckets and the sender of the sandbox world."""
    create_aws_resources(endpoint_url)
    typer.echo(f"Created queue {QUEUE}, buckets {BUCKET} and {ARCHIVE_BUCKET}, and sender {MAIL_FROM}")


if __name__ == "__main__":
    typer.run(main)
