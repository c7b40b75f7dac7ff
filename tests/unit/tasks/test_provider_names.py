"""The trigger forms offer the providers by name, from a Variable that each sync keeps."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ParamValidationError

from amop.tasks import provider_names


class Variables(dict[str, str]):
    """Airflow's Variables, with the number of writes."""

    writes = 0

    def get(self, key: str, default: Any = None) -> Any:
        return dict.get(self, key, default)

    def set(self, key: str, value: str) -> None:
        self.writes += 1
        self[key] = value


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    found = Variables()
    monkeypatch.setattr(provider_names, "Variable", found)
    return found


def test_before_the_first_sync_a_form_takes_ids(variables: Variables) -> None:
    param = provider_names.providers_param("jasper")
    assert "examples" not in param.schema and "values_display" not in param.schema
    assert param.resolve() == []


def test_after_a_sync_the_form_offers_the_names_and_still_hands_on_ids(variables: Variables) -> None:
    provider_names.keep_providers("jasper", {7: "Acme \x1b[2J", 1: "AT&T"})
    param = provider_names.providers_param("jasper")
    assert param.schema["examples"] == [1, 7]
    assert param.schema["values_display"]["1"] == "1 = AT&T"
    assert "\x1b" not in param.schema["values_display"]["7"]
    param.value = [7, 99]
    assert param.resolve() == [7, 99]  # a provider that was loaded since is accepted, too
    param.value = ["7", "1"]  # the list of Airflow's form makes texts of ids, and null of nothing
    assert provider_names.chosen_ids(param.resolve()) == [7, 1]
    param.value = None
    assert provider_names.chosen_ids(param.resolve()) == []
    one = provider_names.provider_param("jasper", "Required.", types=["null", "integer"])
    assert one.description.startswith("Required. 1 = AT&T; 7 = Acme")
    assert one.resolve() is None


@pytest.mark.parametrize("wrong", [[0], ["0"], ["x"], [""], ["1" * 16], [1.5], "7", 7])
def test_a_parameter_that_is_no_list_of_ids_is_refused(variables: Variables, wrong: Any) -> None:
    param = provider_names.providers_param("jasper")
    param.value = wrong
    with pytest.raises(ParamValidationError):
        param.resolve()


def test_a_description_names_thirty_providers_and_counts_the_rest(variables: Variables) -> None:
    provider_names.keep_providers("jasper", {number: f"P{number}" for number in range(1, 1001)})
    text = provider_names.provider_param("jasper", "Required.", types=["integer"]).description
    assert text.startswith("Required. 1 = P1; 2 = P2;") and text.endswith("30 = P30; 970 more")


def test_a_task_parses_its_file_without_reading_the_variable(
    variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_names.keep_providers("jasper", {1: "AT&T"})
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "device_sync_jasper")
    assert "examples" not in provider_names.providers_param("jasper").schema


def test_a_file_is_parsed_although_the_variable_cannot_be_read(
    variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(key: str, default: Any) -> None:
        raise PermissionError(key)

    monkeypatch.setattr(variables, "get", deny)
    assert "examples" not in provider_names.providers_param("jasper").schema
    provider_names.keep_providers("jasper", {1: "AT&T"})


def test_only_a_change_is_written(variables: Variables) -> None:
    for names in ({1: "AT&T"}, {1: "AT&T"}, {1: "AT&T", 2: "POD19"}):
        provider_names.keep_providers("jasper", names)
    assert variables.writes == 2
    assert provider_names.known_providers("rogers") == {}


@pytest.mark.parametrize("text", ["no json", "[1]", '{"x": "y"}', "null", "3"])
def test_a_variable_that_was_edited_is_ignored_and_repaired(variables: Variables, text: str) -> None:
    variables["amop_providers_jasper"] = text
    assert provider_names.known_providers("jasper") == {}
    provider_names.keep_providers("jasper", {1: "AT&T"})
    assert provider_names.known_providers("jasper") == {1: "AT&T"}


def test_a_sync_does_not_fail_where_the_names_cannot_be_kept(
    variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str, value: str) -> None:
        raise AirflowRuntimeError.__new__(AirflowRuntimeError)

    monkeypatch.setattr(variables, "set", refuse)
    provider_names.keep_providers("jasper", {1: "AT&T"})
