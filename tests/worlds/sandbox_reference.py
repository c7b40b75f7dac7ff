"""The sandbox's reference data in a warehouse of a test."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from unittest import mock

from amop.reference import load
from amop.reference.reference_file import parse_reference_file
from sandbox.carrier.reference_file import write_reference

_parse_once = functools.cache(parse_reference_file)


@functools.cache
def _reference_file() -> Path:
    path = Path(os.environ["AMOP_TEST_DIRECTORY"]) / f"reference-{os.getpid()}.yaml"
    write_reference(path)
    return path


def load_sandbox_reference(dsn: str) -> None:
    """Load the reference file of the sandbox's four providers; the file is parsed once per process."""
    with mock.patch.object(load, "parse_reference_file", _parse_once):
        load.load_reference(dsn, _reference_file())
