"""The reference file's errors: all at once, each with its line, field, value and what is allowed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from amop.reference.reference_file import ReferenceFileError, parse_reference_file
from sandbox.carrier.reference_file import reference_yaml

GOOD = """\
tenants:
  - {id: 1, name: Acme IoT, time_zone: America/New_York}
service_providers:
  - id: 1
    tenant_id: 1
    integration: jasper
    name: AT&T Control Center
    connection_id: carrier_jasper_1
    time_zone: America/New_York
    rate_plans:
      - {rate_plan_code: IoT 10 MB, rate_charge: "2.50", plan_mb: "10", overage_rate: "1.00", data_per_overage_charge: "1"}
      - {rate_plan_code: IoT 25 MB, rate_charge: "4", plan_mb: 25, overage_rate: "1.00", data_per_overage_charge: "1"}
    communication_plans:
      - name: Data LTE
        rate_plans: [IoT 10 MB, IoT 25 MB]
"""  # noqa: E501


def problems_of(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ReferenceFileError) as caught:
        parse_reference_file(text, "reference.yaml")
    return [(problem.line, problem.field, problem.message) for problem in caught.value.problems]


def test_a_short_file_has_the_documented_defaults() -> None:
    provider = parse_reference_file(GOOD, "reference.yaml").service_providers[0]
    assert (provider.bill_period_end_day, provider.bill_period_end_hour) == (18, 18)
    assert (provider.uses_proration, provider.prorates_allowance) == (True, False)
    assert (provider.write_is_enabled, provider.can_auto_update_rate_plans) == (False, False)
    assert (provider.pool_scope, provider.rate_plan_limit) == ("service_provider", None)
    assert (provider.detail_calls_per_run, provider.is_active) == (500, True)
    plan = provider.rate_plans[0]
    assert (plan.rate_charge, plan.base_rate, plan.version) == (Decimal("2.50"), Decimal(0), 1)


def test_the_reference_file_of_the_sandbox_is_valid() -> None:
    assert len(parse_reference_file(reference_yaml(), "reference.yaml").service_providers) == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        ("integration: jasper", "integration: jaspr", 6, "service_providers[0].integration",
         "'jaspr' is not an integration; allowed: jasper, pod19, tmobile_jasper, rogers, "
         "thingspace, teal, pond, telegence, ebonding"),
        ("    time_zone: America/New_York", "    time_zone: America/New_Yrok", 9,
         "service_providers[0].time_zone",
         "'America/New_Yrok' is not a time zone; allowed: an IANA name such as 'America/New_York' or 'UTC'"),
        ("tenant_id: 1", "tenant_id: 2", 5, "service_providers[0].tenant_id",
         "2 is not the id of a tenant of this file"),
        ("tenant_id: 1", "bill_period_end_day: 32", 5, "service_providers[0].bill_period_end_day",
         "32 allowed: 1 to 31"),
        ('"2.50"', "2.51", 11, "service_providers[0].rate_plans[0].rate_charge",
         '2.51 is not an exact number; write it in quotes: "2.51"'),
        ('"2.50"', '"2.5000001"', 11, "service_providers[0].rate_plans[0].rate_charge",
         "'2.5000001' allowed: text such as \"2.50\", up to 12 digits before and 6 after the point, "
         "or a whole number"),
        ('"2.50"', '"-1"', 11, "service_providers[0].rate_plans[0].rate_charge", "'-1' allowed: 0 or more"),
        ('"2.50"', "null", 11, "service_providers[0].rate_plans[0].rate_charge",
         'null allowed: text such as "2.50", up to 12 digits before and 6 after the point, '
         "or a whole number"),
        ("IoT 25 MB, rate_charge", "IoT 10 MB, rate_charge", 12,
         "service_providers[0].rate_plans[1].rate_plan_code",
         "'IoT 10 MB' is already used by service_providers[0].rate_plans[0]; allowed: once"),
        ("[IoT 10 MB, IoT 25 MB]", "[IoT 10 MB, IoT 50 MB]", 15,
         "service_providers[0].communication_plans[0].rate_plans[1]",
         "'IoT 50 MB' is not a rate plan of this provider; allowed: one of its rate_plans"),
        ("[IoT 10 MB, IoT 25 MB]", "[IoT 10 MB, IoT 10 MB]", 15,
         "service_providers[0].communication_plans[0].rate_plans[1]", "'IoT 10 MB' is listed twice"),
        ("name: Acme IoT", "name: 5", 2, "tenants[0].name", "5 allowed: text; write it in quotes"),
        *(
            ("    time_zone: America/New_York", f"    time_zone: {zone}", 9, "service_providers[0].time_zone",
             f"{zone!r} is not a time zone; allowed: an IANA name such as 'America/New_York' or 'UTC'")
            for zone in ("localtime", "posixrules", "Factory", "posix/America/New_York", "right/America/New_York")
        ),
        ("name: Data LTE", r'name: "Da\0ta"', 14, "service_providers[0].communication_plans[0].name",
         r"'Da\x00ta' must be printable text on one line"),
        ("name: Data LTE", r'name: "Da\uD800"', 14, "service_providers[0].communication_plans[0].name",
         r"'Da\ud800' must be printable text on one line"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem_with_line_field_value_and_what_is_allowed(
    old: str, new: str, line: int, field: str, message: str
) -> None:
    found = problems_of(GOOD.replace(old, new, 1))
    assert (line, field, message) in found
    # A field that was overwritten to plant the mistake is missing; a renamed plan leaves the mapping.
    assert all("is missing" in text or "is not a rate plan" in text for _, name, text in found if name != field)


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("America/New_York", "Mars/Olympus").replace("jasper\n", "jaspr\n").replace('"10"', "0.1")
    found = problems_of(text + "    colour: red\n    is_active: yes\n")
    assert [(line, field) for line, field, _ in found] == [
        (2, "tenants[0].time_zone"),
        (6, "service_providers[0].integration"),
        (9, "service_providers[0].time_zone"),
        (11, "service_providers[0].rate_plans[0].plan_mb"),
        (16, "service_providers[0].colour"),
        (17, "service_providers[0].is_active"),
    ]
    assert found[4][2].startswith("is not a field; allowed: id, tenant_id, integration, name")
    assert found[5][2] == "'yes' allowed: true or false"


def test_the_numbers_of_the_integrations_are_checked() -> None:
    text = (
        "integrations:\n"
        "  - {name: jasper, integration_type: 2}\n"
        "  - {name: rogers, integration_type: 2}\n"
        "  - {name: jasper, integration_type: -1}\n"
        "  - {name: bell}\n"
    )
    assert [(line, field, message.partition(";")[0]) for line, field, message in problems_of(text)] == [
        (3, "integrations[1].integration_type", "2 is already used by integrations[0]"),
        (4, "integrations[2].integration_type", "-1 allowed: 0 to 2147483647"),
        (4, "integrations[2].name", "'jasper' is already used by integrations[0]"),
        (5, "integrations[3].integration_type", "is missing and has no default"),
        (5, "integrations[3].name", "'bell' is not an integration"),
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"0.1"', "0.1"),
        ("3", "3"),
        ("2.5", "2.5"),
        ('"0.000001"', "0.000001"),
        ('"999999999999.999999"',) * 2,
    ],
)
def test_money_is_exact(written: str, value: str) -> None:
    plan = parse_reference_file(GOOD.replace('"2.50"', written), "f").service_providers[0].rate_plans[0]
    assert plan.rate_charge == Decimal(value.strip('"'))


@pytest.mark.parametrize(
    "written", [".inf", ".nan", "true", "[]", '"1,5"', '"1e3"', '"+1"', '""', '"\u0661"', "2026-01-01"]
)
def test_what_is_not_money_is_refused(written: str) -> None:
    found = problems_of(GOOD.replace('"2.50"', written))
    assert [field for _, field, _ in found] == ["service_providers[0].rate_plans[0].rate_charge"]


def test_plans_with_worthless_overage_terms_are_stored_for_the_optimization_to_refuse() -> None:
    text = GOOD.replace(
        'overage_rate: "1.00", data_per_overage_charge: "1"',
        'overage_rate: "0", data_per_overage_charge: "-1"',
        1,
    )
    plan = parse_reference_file(text, "f").service_providers[0].rate_plans[0]
    assert (plan.overage_rate, plan.data_per_overage_charge) == (Decimal(0), Decimal(-1))


def test_plans_of_one_pool_must_share_overage_rate_and_block() -> None:
    pooled = GOOD.replace(' "1"}', ' "1", allows_sim_pooling: true, pool: fleet}')
    parse_reference_file(pooled, "f")
    differing = pooled.replace('25, overage_rate: "1.00"', '25, overage_rate: "1.01"')
    assert problems_of(differing) == [
        (12, "service_providers[0].rate_plans[1].overage_rate",
         "1.01 differs from 1.00 of 'IoT 10 MB' in the same pool 'fleet'; "
         "allowed: one overage rate and one block size per pool")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("upgrade_effect: from_change\n    downgrade_effect: from_change", None),
        ("upgrade_effect: from_change\n    downgrade_effect: next_cycle", None),
        ("downgrade_effect: next_cycle", None),
        ("upgrade_effect: next_cycle\n    downgrade_effect: next_cycle", None),
        ("upgrade_effect: from_change", "'from_change' and downgrade_effect 'whole_cycle' cannot be billed together"),
        ("downgrade_effect: from_change", "'whole_cycle' and downgrade_effect 'from_change' cannot be billed together"),
        ("downgrade_effect: tomorrow", "allowed: 'whole_cycle', 'from_change' or 'next_cycle'"),
        ("downgrade_effect: [from_change]", "allowed: 'whole_cycle', 'from_change' or 'next_cycle'"),
        ("maximum_changes_per_sim: -1", "allowed: 0 to 2147483647"),
        ("minimum_days_on_plan: 367", "allowed: 0 to 366"),
    ],
)
def test_when_plan_changes_count_must_be_billable(settings: str, problem: str | None) -> None:
    text = GOOD.replace("    time_zone: America/New_York\n", f"    time_zone: America/New_York\n    {settings}\n", 1)
    assert settings in text
    if problem is None:
        provider = parse_reference_file(text, "r.yaml").service_providers[0]
        assert "next_cycle" in settings or provider.upgrade_effect == provider.downgrade_effect == "from_change"
    else:
        ((line, field, message),) = problems_of(text)
        assert field.endswith(settings.partition(":")[0]) and problem in message and line is not None


def test_duplicate_tenants_and_providers_are_named() -> None:
    tenant = "  - {id: 1, name: Acme IoT, time_zone: UTC}\n"
    provider = (
        "  - {id: 1, tenant_id: 1, integration: jasper, name: AT&T Control Center, connection_id: c, time_zone: UTC}\n"
    )
    text = GOOD.replace("service_providers:\n", tenant + "service_providers:\n") + provider
    assert [(line, field) for line, field, _ in problems_of(text)] == [
        (3, "tenants[1].id"),
        (3, "tenants[1].name"),
        (17, "service_providers[1].id"),
        (17, "service_providers[1].name"),
    ]


def test_the_same_name_on_two_integrations_is_allowed() -> None:
    provider = (
        "  - {id: 2, tenant_id: 1, integration: pod19, name: AT&T Control Center, connection_id: c, time_zone: UTC}\n"
    )
    assert len(parse_reference_file(GOOD + provider, "f").service_providers) == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "is empty; allowed: tenants, integrations, service_providers"),
        ("tenants:\n\t- 5", 2, "found character '\\t' that cannot start any token"),
        (
            "tenants: []\ntenants: []",
            2,
            'found duplicate key "tenants" with value "[]" (original value: "[]")',
        ),
        ("- 1", 1, "[1] allowed: a mapping of fields"),
        ("tenants: 5", 1, "5 allowed: a list"),
        ("[" * 10 + "]" * 10, None, "[0][0][0][0][0][0][0][0][0] is nested too deeply"),
        ("a: \x01", None, "is not YAML: unacceptable character #x0001: special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_reference_file_at_all_says_why(text: str, line: int | None, message: str) -> None:
    assert [(found[0], found[2]) for found in problems_of(text)] == [(line, message)]


def test_the_text_of_the_error_names_the_file() -> None:
    with pytest.raises(ReferenceFileError, match=r"^fleet\.yaml:6: service_providers\[0\]\.integration: 'x' is not"):
        parse_reference_file(GOOD.replace("jasper\n", "x\n"), "fleet.yaml")


def test_the_documented_example_is_valid() -> None:
    document = (Path(__file__).parents[3] / "docs" / "reference-file.md").read_text(encoding="utf-8")
    example = document.split("```yaml\n")[1].split("```")[0]
    provider = parse_reference_file(example, "docs/reference-file.md").service_providers[0]
    assert provider.communication_plans is not None
    assert (provider.rate_plans[0].rate_plan_code, provider.communication_plans[0].name) == (
        "IoT 10 MB",
        "Data LTE",
    )


def test_names_are_stripped_before_they_are_compared_as_the_carriers_names_are() -> None:
    text = GOOD.replace("[IoT 10 MB, IoT 25 MB]", "['IoT 10 MB ', IoT 25 MB]", 1).replace(
        "name: Data LTE", 'name: " Data LTE\\t"', 1
    )
    assert parse_reference_file(text, "r.yaml") == parse_reference_file(GOOD, "r.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "tenants: !x [1]\n",
        "tenants: !!omap [a: 1]\n",
        "tenants: !!set {a, b}\n",
        "tenants: !y {a: 1}\n",
        "tenants: !!str 5\n",
        "!!python/object/apply:os.system ['id']\n",
        "tenants:\n  - {id: 1, name: !!binary aGVsbG8=, time_zone: UTC}\n",
    ],
)
def test_any_tag_is_refused_with_its_line(text: str) -> None:
    ((line, _, message),) = problems_of(text)
    assert line == 1 + text.count("\n", 0, text.index("!"))
    assert message.startswith("has the tag") and message.endswith("allowed: values without a tag")


def test_aliases_that_expand_without_bound_are_refused_with_their_line() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40)
    )
    ((line, _, message),) = problems_of(bomb)
    assert line == 6 and message == "has more than 1,000,000 values with its aliases; write them out"
    ((line, _, message),) = problems_of("tenants:\n - &loop [*loop]\n")
    assert line == 2 and message == "the alias *loop lies within its own value; write the value out"
