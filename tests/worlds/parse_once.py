"""What Airflow and boto3 parse again and again in one process, parsed once: half of the time of a DAG test otherwise.

Airflow checks the JSON schema of every param whenever it stores a DAG, for every operator; boto3 reads the description
of a service from its files for every session. Neither is what the tests are about.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import botocore.session
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]

_check_schema = Draft202012Validator.check_schema
_checked: set[str] = set()


def _check_schema_once(schema: Any, *arguments: Any, **options: Any) -> None:
    key = json.dumps(schema, sort_keys=True, default=repr)
    if key not in _checked:
        _check_schema(schema, *arguments, **options)
        _checked.add(key)


def parse_once() -> None:
    """Let this process check each JSON schema once and read each service description of boto3 once."""
    Draft202012Validator.check_schema = staticmethod(_check_schema_once)
    loader = functools.cache(botocore.session.create_loader)
    botocore.session.create_loader = loader
