"""The sandbox's reference data in a warehouse of a test."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from unittest import mock

from amop.reference import load
from amop.reference.reference_file import parse_reference_file
from sandbox.carrier.catalogue import ALL_PROVIDERS, SERVICE_PROVIDERS
from sandbox.carrier.reference_file import write_reference

_parse_once = functools.cache(parse_reference_file)


@functools.cache
def _reference_file(*, has_all: bool) -> Path:
    path = Path(os.environ["AMOP_TEST_DIRECTORY"]) / f"reference-{os.getpid()}-{has_all}.yaml"
    write_reference(path, ALL_PROVIDERS if has_all else SERVICE_PROVIDERS)
    return path


def load_sandbox_reference(dsn: str, *, has_all: bool = False) -> None:
    """Load the reference file of the sandbox's providers; the file is parsed once per process.

    Args:
        dsn: the warehouse.
        has_all: also the providers that are synced but not optimized.
    """
    with mock.patch.object(load, "parse_reference_file", _parse_once):
        load.load_reference(dsn, _reference_file(has_all=has_all))
