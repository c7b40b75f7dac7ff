"""What the peers do with the same device list and the same PostgreSQL: one program each, in the peers' environment.

Each reads the list page by page from the carrier and brings it into a table, new SIMs inserted, known ones updated;
the programs ``load-…`` only load rows that are in memory already. Nothing here imports the package. Prints a line of
JSON: rows, seconds, seconds of CPU, peak megabytes.

python bench/peer_programs.py dlt-tuned postgresql://… http://127.0.0.1:8010 100000
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

COLUMNS = ("iccid", "status", "rate_plan", "communication_plan")
CREATE = """
CREATE TABLE device (iccid text PRIMARY KEY, status text, rate_plan text, communication_plan text)
"""
CREATE_STAGING = """
CREATE TABLE device_staging (run_id bigint, scan_pass smallint, page_number integer, row_number integer, iccid text,
status text, rate_plan text, communication_plan text, PRIMARY KEY (run_id, scan_pass, page_number, row_number))
"""
STAGING_COLUMNS = ("run_id", "scan_pass", "page_number", "row_number", *COLUMNS)
STAGING_TYPES = ("int8", "int2", "int4", "int4", "text", "text", "text", "text")
UPSERT = """
INSERT INTO device (iccid, status, rate_plan, communication_plan) VALUES (%s, %s, %s, %s)
ON CONFLICT (iccid) DO UPDATE SET status = excluded.status, rate_plan = excluded.rate_plan,
communication_plan = excluded.communication_plan
"""
Device = dict[str, Any]


def pages(base_url: str) -> Iterator[list[Device]]:
    """Yield the pages of the device list, read by `requests` over one connection."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        session.auth = ("api_bench", "bench-key-of-no-value")
        number, is_last = 1, False
        while not is_last:
            parameters: dict[str, str | int] = {
                "modifiedSince": "2000-01-01T00:00:00Z", "pageSize": 50, "pageNumber": number,
            }  # fmt: skip
            response = session.get(f"{base_url}/rws/api/v1/devices", params=parameters, timeout=60)
            response.raise_for_status()
            document = response.json()
            yield document["devices"]
            number, is_last = number + 1, document["lastPage"]


def dlt_default(dsn: str, base_url: str, count: int) -> None:
    """dlt as its documentation begins: a resource that yields pages, merged by primary key."""
    _run_dlt(dsn, pages(base_url))


def dlt_tuned(dsn: str, base_url: str, count: int) -> None:
    """dlt with Arrow tables of 50,000 rows, CSV files, one schema for all and no columns of its own."""
    import pyarrow

    def tables() -> Iterator[Any]:
        rows: list[Device] = []
        for page in pages(base_url):
            rows += page
            if len(rows) >= 50_000:
                yield pyarrow.Table.from_pylist(rows)
                rows = []
        if rows:
            yield pyarrow.Table.from_pylist(rows)

    os.environ["NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID"] = "false"
    _run_dlt(dsn, tables(), loader_file_format="csv")


def dlt_adbc(dsn: str, base_url: str, count: int) -> None:
    """dlt with Arrow tables in Parquet files, which its PostgreSQL destination loads by ADBC."""
    import pyarrow

    def tables() -> Iterator[Any]:
        rows: list[Device] = []
        for page in pages(base_url):
            rows += page
            if len(rows) >= 50_000:
                yield pyarrow.Table.from_pylist(rows)
                rows = []
        if rows:
            yield pyarrow.Table.from_pylist(rows)

    _run_dlt(dsn, tables(), loader_file_format="parquet")


def _run_dlt(dsn: str, source: Iterator[Any], **options: Any) -> None:
    import dlt

    with tempfile.TemporaryDirectory(prefix="amop-bench-dlt-") as folder:
        os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
        pipeline = dlt.pipeline(
            "bench", pipelines_dir=folder, destination=dlt.destinations.postgres(dsn), dataset_name="peer"
        )
        resource_of_list = dlt.resource(source, name="device", primary_key="iccid", write_disposition="merge")
        pipeline.run(resource_of_list, **options).raise_on_failed_jobs()


def requests_rows(dsn: str, base_url: str, count: int) -> None:
    """What a script does: `requests`, one INSERT a row, one commit a page."""
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute(CREATE)
        connection.commit()
        for page in pages(base_url):
            for device in page:
                connection.execute(UPSERT, _row(device))
            connection.commit()


def requests_many(dsn: str, base_url: str, count: int) -> None:
    """What a better script does: `requests`, one ``executemany`` and one commit a page."""
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute(CREATE)
        connection.commit()
        for page in pages(base_url):
            connection.cursor().executemany(UPSERT, [_row(device) for device in page])
            connection.commit()


def singer(dsn: str, base_url: str, count: int) -> None:
    """Be a Singer tap: write the device list as messages to the standard output; target-postgres reads it."""
    text = {"type": ["null", "string"]}
    schema = {"properties": dict.fromkeys(("iccid", "status", "ratePlan", "communicationPlan"), text)}
    out = sys.__stdout__
    assert out is not None
    message: dict[str, Any] = {"type": "SCHEMA", "stream": "device", "schema": schema, "key_properties": ["iccid"]}
    out.write(json.dumps(message) + "\n")
    for page in pages(base_url):
        for device in page:
            out.write(json.dumps({"type": "RECORD", "stream": "device", "record": device}) + "\n")
    out.write(json.dumps({"type": "STATE", "value": {}}) + "\n")
    out.flush()


def load_psycopg_text(dsn: str, base_url: str, count: int) -> float:
    """Load by psycopg's COPY in its text format."""
    return _load_psycopg(dsn, count, "")


def load_psycopg_binary(dsn: str, base_url: str, count: int) -> float:
    """Load by psycopg's COPY in its binary format."""
    return _load_psycopg(dsn, count, " (FORMAT binary)")


def load_asyncpg(dsn: str, base_url: str, count: int) -> float:
    """Load by asyncpg's ``copy_records_to_table``."""
    import asyncpg

    rows = _staging_rows(count)

    async def load() -> float:
        connection = await asyncpg.connect(dsn)
        await connection.execute(CREATE_STAGING)
        begun = time.perf_counter()
        await connection.copy_records_to_table("device_staging", records=rows, columns=STAGING_COLUMNS)
        seconds = time.perf_counter() - begun
        await connection.close()
        return seconds

    return asyncio.run(load())


def load_adbc(dsn: str, base_url: str, count: int) -> float:
    """Load by ADBC: the rows become an Arrow table first, which is part of the time."""
    import adbc_driver_postgresql.dbapi
    import pyarrow

    rows = _staging_rows(count)
    types = (pyarrow.int64(), pyarrow.int16(), pyarrow.int32(), pyarrow.int32(), *[pyarrow.string()] * 4)
    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE_STAGING)
        connection.commit()
        begun = time.perf_counter()
        columns = [pyarrow.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
        cursor.adbc_ingest("device_staging", pyarrow.table(columns, names=STAGING_COLUMNS), mode="append")
        connection.commit()
        return time.perf_counter() - begun


def _load_psycopg(dsn: str, count: int, form: str) -> float:
    import psycopg

    rows = _staging_rows(count)
    with psycopg.connect(dsn) as connection:
        connection.execute(CREATE_STAGING)
        connection.commit()
        begun = time.perf_counter()
        statement = f"COPY device_staging ({', '.join(STAGING_COLUMNS)}) FROM STDIN{form}"
        with connection.cursor().copy(statement) as copy:
            if form:
                copy.set_types(STAGING_TYPES)
            for row in rows:
                copy.write_row(row)
        connection.commit()
        return time.perf_counter() - begun


def _peak_megabytes() -> float:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def _row(device: Device) -> tuple[Any, ...]:
    return device["iccid"], device["status"], device["ratePlan"], device["communicationPlan"]


def _staging_rows(count: int) -> list[tuple[Any, ...]]:
    return [
        (1, 1, number // 50 + 1, number % 50, f"{8901_0000_0000_0000_000 + number}", "ACTIVATED", "Plan 1", "Comm 1")
        for number in range(count)
    ]


IMPORTS = {"dlt": ("dlt", "pyarrow", "psycopg2"), "requests": ("psycopg",), "load": ("pyarrow", "psycopg", "asyncpg")}
"""First word of a program → modules to import before the time begins, as those of the package are."""

PROGRAMS: dict[str, Callable[[str, str, int], float | None]] = {
    "dlt-default": dlt_default,
    "dlt-tuned": dlt_tuned,
    "dlt-adbc": dlt_adbc,
    "requests-rows": requests_rows,
    "requests-many": requests_many,
    "load-psycopg-text": load_psycopg_text,
    "load-psycopg-binary": load_psycopg_binary,
    "load-asyncpg": load_asyncpg,
    "load-adbc": load_adbc,
}


def main(program: str, dsn: str, base_url: str, count: str) -> None:
    """Run one program and print what it cost."""
    if program == "singer":
        singer(dsn, base_url, int(count))
        return
    for module in ("requests", *IMPORTS[program.partition("-")[0]]):
        importlib.import_module(module)
    begun, processor = time.perf_counter(), time.process_time()
    seconds = PROGRAMS[program](dsn, base_url, int(count))
    cost = {
        "seconds": time.perf_counter() - begun if seconds is None else seconds,
        "cpu_seconds": time.process_time() - processor,
        "peak_megabytes": _peak_megabytes(),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main(*sys.argv[1:5])
