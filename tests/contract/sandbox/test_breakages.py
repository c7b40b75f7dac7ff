"""Each breakage of the sandbox is seen by a client as a row of the runbook describes it, and is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from amop.device_sync.validation import Rejected, validate_listed_device
from amop.messages.amop_client import AmopClient, AmopRefusedError, AmopUnavailableError
from sandbox.amop.running import RunningAmop, running_amop
from sandbox.carrier.client import CarrierClient
from sandbox.carrier.running import RunningCarrier, running_carrier
from sandbox.world.aws_resources import BUCKET, aws_client, create_aws_resources
from sandbox.world.breakages import Breakage, Parts, break_part, repair

pytestmark = pytest.mark.xdist_group("breakages")


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    create_aws_resources(f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=20, accounts=("jasper", "rogers"), limits_are_enforced=False) as running:
        yield running


@pytest.fixture(scope="module")
def amop() -> Iterator[RunningAmop]:
    with running_amop() as running:
        yield running


@pytest.fixture
def parts(carrier: RunningCarrier, amop: RunningAmop, aws: str) -> Iterator[Parts]:
    made = Parts(carrier.port, amop.port, aws)
    yield made
    repair(made)


def list_of(carrier: RunningCarrier, account: str = "api_jasper") -> requests.Response:
    return CarrierClient(carrier, account).list_page(1)


def rejected(carrier: RunningCarrier) -> list[Any]:
    records = list_of(carrier).json()["devices"]
    return [record for record in records if isinstance(validate_listed_device(record), Rejected)]


@pytest.mark.parametrize(("what", "status"), [(Breakage.KEY, 401), (Breakage.CARRIER, 503)])
def test_a_broken_account_answers_with_an_error_until_it_is_repaired_and_the_others_work(
    carrier: RunningCarrier, parts: Parts, what: Breakage, status: int
) -> None:
    assert "device_sync_jasper" in break_part(what, parts)
    assert [list_of(carrier).status_code for _ in range(2)] == [status, status]
    assert list_of(carrier, "api_rogers").status_code == 200
    repair(parts)
    assert list_of(carrier).status_code == 200


def test_a_malformed_record_is_rejected_until_it_is_repaired(carrier: RunningCarrier, parts: Parts) -> None:
    assert rejected(carrier) == []
    sentence = break_part(Breakage.ROW, parts)
    (record,) = rejected(carrier)
    assert record["status"] == 7
    assert record["iccid"] in sentence
    repair(parts)
    assert rejected(carrier) == []


def test_amop_is_away_until_it_is_repaired(amop: RunningAmop, parts: Parts) -> None:
    fields = {"progress_path": amop.progress_path, "sync_path": amop.sync_path}
    with AmopClient.from_connection_fields(
        host=amop.base_url, schema=None, port=None, password=None, extra=fields
    ) as client:
        break_part(Breakage.AMOP, parts)
        for _ in range(2):
            with pytest.raises(AmopUnavailableError, match="503"):
                client.post("daily_sync", {}, "key")
        repair(parts)
        with pytest.raises(AmopRefusedError, match="400"):
            client.post("daily_sync", {}, "key")


def test_the_bucket_is_gone_until_it_is_repaired(aws: str, parts: Parts) -> None:
    s3 = aws_client("s3", aws)
    s3.put_object(Bucket=BUCKET, Key="old", Body=b"x")
    break_part(Breakage.BUCKET, parts)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")
    repair(parts)
    s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")
