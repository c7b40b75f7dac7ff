"""Parse a reference file: YAML text to validated entries.

Every problem names its line, field, value and the allowed values; all problems are reported at once. The format is
described in ``docs/reference-file.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from amop.reference.entries import (
    CommunicationPlanEntry,
    IntegrationEntry,
    RatePlanEntry,
    ReferenceFile,
    ServiceProviderEntry,
    TenantEntry,
    exact_decimal,
)
from amop.reference.yaml_structure import StructureError, check_structure

MAXIMUM_DEPTH = 8

NAMES = {"name", "rate_plan_code", "pool", "rate_plans", "connection_id"}
"""Fields whose texts are stripped before they are compared, as the sync strips the carrier's names."""

Location = tuple[str | int, ...]
"""Path of a value in the file: ``("service_providers", 0, "rate_plans", 1, "rate_charge")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in a reference file."""

    line: int | None
    """Line of the file, from 1; None for an error of the whole file."""
    field: str
    """For example ``service_providers[0].rate_plans[1].rate_charge``; empty for the file itself."""
    message: str
    """The value and the allowed values."""

    def describe(self, file_name: str) -> str:
        """Return ``file:line: field: message``."""
        place = file_name if self.line is None else f"{file_name}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class ReferenceFileError(ValueError):
    """A reference file cannot be loaded; ``problems`` lists all errors in it."""

    def __init__(self, file_name: str, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line or 0, problem.field))
        super().__init__("\n".join(problem.describe(file_name) for problem in self.problems))


FIELDS_OF: dict[Location, type[BaseModel]] = {
    (): ReferenceFile,
    ("tenants",): TenantEntry,
    ("integrations",): IntegrationEntry,
    ("service_providers",): ServiceProviderEntry,
    ("service_providers", "rate_plans"): RatePlanEntry,
    ("service_providers", "communication_plans"): CommunicationPlanEntry,
}

OVERAGE_TERMS = ("overage_rate", "data_per_overage_charge")

ALLOWED = {
    "model_type": "a mapping of fields",
    "dict_type": "a mapping of fields",
    "list_type": "a list",
    "string_type": "text; write it in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
}
"""Allowed values for each of pydantic's type errors."""


def parse_reference_file(text: str, file_name: str) -> ReferenceFile:
    """Return the contents of a reference file.

    Args:
        text: YAML 1.2.
        file_name: for the messages.

    Raises:
        ReferenceFileError: with all errors: syntax, types, values, duplicates, unknown names.
    """
    lines: dict[Location, int] = {}
    try:
        check_structure(text)
        document = _plain(YAML(typ="rt", pure=True).load(text), (), lines)
    except StructureError as error:
        raise ReferenceFileError(file_name, [Problem(error.line, "", str(error))]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        what = (error.problem or error.context or "is not YAML").split("\n")[0]
        raise ReferenceFileError(file_name, [Problem(line, "", what)]) from None
    except YAMLError as error:
        what = str(error).split("\n")[0]
        raise ReferenceFileError(file_name, [Problem(None, "", f"is not YAML: {what}")]) from None
    except (ValueError, RecursionError) as error:
        raise ReferenceFileError(file_name, [Problem(None, "", str(error))]) from None
    if document is None:
        allowed = ", ".join(ReferenceFile.model_fields)
        raise ReferenceFileError(file_name, [Problem(None, "", f"is empty; allowed: {allowed}")])
    problems = [Problem(_line(lines, at), _field(at), message) for at, message in _contradictions(document)]
    try:
        reference = ReferenceFile.model_validate(document)
    except ValidationError as error:
        problems += [_problem(dict(detail), lines) for detail in error.errors(include_url=False)]
    if problems:
        raise ReferenceFileError(file_name, problems)
    return reference


def _plain(value: Any, at: Location, lines: dict[Location, int]) -> Any:
    """Return YAML's containers as plain ones, and record the line of every value."""
    if len(at) > MAXIMUM_DEPTH:
        raise ValueError(f"{_field(at)} is nested too deeply")
    if isinstance(value, CommentedMap):
        lines.setdefault(at, value.lc.line + 1)
        for key in value:
            lines[(*at, str(key))] = value.lc.key(key)[0] + 1 if key in value.lc.data else lines[at]
        return {str(key): _plain(item, (*at, str(key)), lines) for key, item in value.items()}
    if isinstance(value, CommentedSeq):
        lines.setdefault(at, value.lc.line + 1)
        for index in range(len(value)):
            lines[(*at, index)] = value.lc.item(index)[0] + 1
        return [_plain(item, (*at, index), lines) for index, item in enumerate(value)]
    is_name = isinstance(value, str) and not NAMES.isdisjoint(at[-2:])
    return value.strip() if is_name else value


def _problem(detail: dict[str, Any], lines: dict[Location, int]) -> Problem:
    at: Location = tuple(detail["loc"])
    kind, value = detail["type"], detail["input"]
    if kind == "missing":
        return Problem(_line(lines, at), _field(at), "is missing and has no default")
    if kind == "extra_forbidden":
        model = FIELDS_OF[tuple(part for part in at[:-1] if isinstance(part, str))]
        return Problem(_line(lines, at), _field(at), f"is not a field; allowed: {', '.join(model.model_fields)}")
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
    elif kind in {"greater_than_equal", "less_than_equal"}:
        message = f"allowed: {_range(at)}"
    elif kind in ALLOWED:
        message = f"allowed: {ALLOWED[kind]}"
    else:
        message = re.sub(r"^Input should be", "allowed:", detail["msg"])
    return Problem(_line(lines, at), _field(at), f"{_shown(value)} {message}")


def _range(at: Location) -> str:
    """Return the bounds of a number's field in words."""
    model = FIELDS_OF[tuple(part for part in at[:-1] if isinstance(part, str))]
    bounds = model.model_fields[str(at[-1])].metadata
    low = next((bound.ge for bound in bounds if hasattr(bound, "ge")), None)
    high = next((bound.le for bound in bounds if hasattr(bound, "le")), None)
    return f"{low} or more" if high is None else f"{low} to {high}"


def _contradictions(document: Any) -> Iterator[tuple[Location, str]]:
    """Yield the errors between fields: duplicates and references to unknown names.

    Works on the raw document, so that these are reported together with wrong types.
    """
    tenants = list(_entries(document, (), "tenants"))
    integrations = list(_entries(document, (), "integrations"))
    providers = list(_entries(document, (), "service_providers"))
    yield from _duplicates(tenants, "id")
    yield from _duplicates(tenants, "name")
    yield from _duplicates(integrations, "name")
    yield from _duplicates(integrations, "integration_type")
    yield from _duplicates(providers, "id")
    yield from _duplicates(providers, "name", lambda entry: (entry.get("tenant_id"), entry.get("integration")))
    tenant_ids = {entry.get("id") for _, entry in tenants if _is_scalar(entry.get("id"))}
    for at, provider in providers:
        tenant_id = provider.get("tenant_id")
        if _is_scalar(tenant_id) and tenant_id not in tenant_ids:
            yield (*at, "tenant_id"), f"{_shown(tenant_id)} is not the id of a tenant of this file"
        yield from _provider_contradictions(at, provider)


def _provider_contradictions(at: Location, provider: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    rate_plans = list(_entries(provider, at, "rate_plans"))
    communication_plans = list(_entries(provider, at, "communication_plans"))
    yield from _duplicates(rate_plans, "rate_plan_code")
    yield from _duplicates(communication_plans, "name")
    yield from _pool_contradictions(rate_plans)
    yield from _effect_contradictions(at, provider)
    codes = {entry.get("rate_plan_code") for _, entry in rate_plans if _is_scalar(entry.get("rate_plan_code"))}
    for plan_at, communication_plan in communication_plans:
        allowed = communication_plan.get("rate_plans")
        seen: set[Any] = set()
        for index, code in enumerate(allowed if isinstance(allowed, list) else []):
            if not isinstance(code, str):
                continue
            if code not in codes:
                yield (
                    (*plan_at, "rate_plans", index),
                    (f"{_shown(code)} is not a rate plan of this provider; allowed: one of its rate_plans"),
                )
            elif code in seen:
                yield (*plan_at, "rate_plans", index), f"{_shown(code)} is listed twice"
            seen.add(code)


def _pool_contradictions(rate_plans: list[tuple[Location, dict[str, Any]]]) -> Iterator[tuple[Location, str]]:
    """Yield the plans of a pool with different overage terms: a pool has one overage rate and one block size."""
    terms: dict[str, tuple[str, dict[str, Decimal]]] = {}
    for at, plan in rate_plans:
        pool = plan.get("pool")
        if not isinstance(pool, str) or plan.get("allows_sim_pooling") is not True:
            continue
        try:
            own = {name: exact_decimal(plan.get(name)) for name in OVERAGE_TERMS}
        except ValueError:
            continue  # reported as a wrong value
        first_code, first = terms.setdefault(pool, (str(plan.get("rate_plan_code")), own))
        for name, value in own.items():
            if value != first[name]:
                yield (
                    (*at, name),
                    (
                        f"{value} differs from {first[name]} of {first_code!r} in the same pool {pool!r}; "
                        "allowed: one overage rate and one block size per pool"
                    ),
                )


def _effect_contradictions(at: Location, provider: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    """Yield effects of plan changes that one bill cannot have: usage before a change is on one plan or the other."""
    upgrade, downgrade = (provider.get(name, "whole_cycle") for name in ("upgrade_effect", "downgrade_effect"))
    if [upgrade, downgrade] in (["whole_cycle", "from_change"], ["from_change", "whole_cycle"]):
        yield (
            (*at, "downgrade_effect" if "downgrade_effect" in provider else "upgrade_effect"),
            (
                f"upgrade_effect {upgrade!r} and downgrade_effect {downgrade!r} cannot be billed together; "
                "allowed: the same value for both, or 'next_cycle' for one of them"
            ),
        )


def _duplicates(
    entries: list[tuple[Location, dict[str, Any]]],
    field: str,
    scope: Callable[[dict[str, Any]], object] = lambda _: None,
) -> Iterator[tuple[Location, str]]:
    first: dict[object, Location] = {}
    for at, entry in entries:
        value = entry.get(field)
        if not _is_scalar(value):
            continue
        key = repr((scope(entry), type(value), value))
        if key in first:
            yield (*at, field), f"{_shown(value)} is already used by {_field(first[key])}; allowed: once"
        first.setdefault(key, at)


def _entries(parent: Any, at: Location, name: str) -> Iterator[tuple[Location, dict[str, Any]]]:
    items = parent.get(name) if isinstance(parent, dict) else None
    for index, entry in enumerate(items if isinstance(items, list) else []):
        if isinstance(entry, dict):
            yield (*at, name, index), entry


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int)


def _line(lines: dict[Location, int], at: Location) -> int | None:
    """Return the line of a value, or of the innermost container with a known line."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at)


def _field(at: Location) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")


def _shown(value: object) -> str:
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
