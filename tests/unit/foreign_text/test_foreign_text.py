"""Foreign text: storable, printable and without secrets in any form."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop import foreign_text
from amop.foreign_text import SecretScrubber, clean_text, cut_nesting, remember_secrets, storable_error

USER, KEY = "api_jasper", "canary-7c1e/key+4f=="
SCRUBBER = SecretScrubber(KEY, user=USER)
BASIC = base64.b64encode(f"{USER}:{KEY}".encode()).decode()


@given(st.text() | st.text(alphabet="\x00\ud800\n\x1b\u202e a"))
def test_any_text_becomes_storable_printable_and_bounded(text: str) -> None:
    for value in (text, [text], {text: text}):
        clean = clean_text(value, maximum=50)
        assert clean.isprintable() and len(clean) <= 50
        clean.encode()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("SIM \x00 not found", "SIM \\x00 not found"),
        ("half \ud83d", "half \\ud83d"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("one\r\ntwo\tthree", "one  two three"),
        ("x" * 3000, "x" * 1999 + "…"),
        pytest.param(10**4999, "(int that cannot be shown: ValueError)", id="5,000 digits"),
        (None, "None"),
    ],
)
def test_text_is_escaped_and_cut(text: Any, clean: str) -> None:
    assert clean_text(text) == clean


def test_the_text_of_an_error_keeps_its_lines_and_never_fails() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert storable_error(ValueError("one\ntwo \x00 \ud800")) == "one\ntwo \\x00 \\ud800"
    assert storable_error(Broken()) == "Broken, whose text cannot be shown (RuntimeError)"


FORMS = [
    KEY,
    quote(KEY, safe=""),
    BASIC,
    BASIC.rstrip("="),
    quote(BASIC, safe=""),
    base64.b64encode(KEY.encode()).decode(),
    f"Basic {BASIC}",
    "Bearer eyJhbGciOi.J9x",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_removed_in_every_form_and_the_words_around_it_stay(form: str) -> None:
    clean = clean_text(f"you sent {form} and that is wrong", scrubber=SCRUBBER)
    assert clean in {"you sent *** and that is wrong", f"you sent {form.split()[0]} *** and that is wrong"}


@pytest.mark.parametrize("form", FORMS[:6])
def test_a_secret_that_was_cut_in_two_leaves_no_part_of_eight_characters(form: str) -> None:
    for cut in range(1, len(form)):
        for text in (f"you sent {form[:cut]}", f"{form[cut:]} is wrong", f"you sent {form[:cut]}… is wrong"):
            clean = clean_text(text, scrubber=SCRUBBER)
            assert not any(form[at : at + 8] in clean for at in range(len(form) - 7)), (text, clean)


def test_words_that_only_look_like_credentials_stay() -> None:
    text = "Basic authentication is required, Bearer token missing"
    assert clean_text(text, scrubber=SCRUBBER) == text


def test_a_short_key_does_not_destroy_the_words() -> None:
    assert clean_text("ok, the key is wrong", scrubber=SecretScrubber("k")) == "ok, the key is wrong"


def test_a_document_is_scrubbed_in_keys_and_values_and_otherwise_unchanged() -> None:
    document = {"devices": [{"iccid": "8901", "echo": f"Authorization: Basic {BASIC}", KEY: 1}], "lastPage": True}
    assert SCRUBBER.scrub_document(document) == {
        "devices": [{"iccid": "8901", "echo": "Authorization: Basic ***", "***": 1}],
        "lastPage": True,
    }


def test_a_secret_is_in_no_repr() -> None:
    assert KEY not in repr(SCRUBBER)


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_only_the_value_that_is_nested_too_deeply_is_cut(depth: int) -> None:
    text = '{"a": ["x]", ' + "[" * depth + "]" * depth + ', {"b": 1}], "lastPage": true}'
    document = json.loads(cut_nesting(text))
    assert (document["a"][0], document["a"][2], document["lastPage"]) == ("x]", {"b": 1}, True)
    assert "(nested too deeply)" in json.dumps(document)


@pytest.mark.parametrize("form", FORMS[:6])
def test_a_document_keeps_no_part_that_truncation_has_left_of_a_secret(form: str) -> None:
    for cut in range(8, len(form) - 8):
        document = {"devices": [{"note": f"you sent {form[:cut]}"}, {f"{form[cut:]}": "is wrong"}]}
        clean = json.dumps(SCRUBBER.scrub_document(document))
        runs = {form[at : at + 8] for at in range(len(form) - 7)}
        assert not [run for run in runs if run in clean and not run.isalpha() and not run.isdigit()], (cut, clean)


def test_words_and_numbers_of_a_document_stay_where_a_secret_contains_them() -> None:
    scrubber = SecretScrubber("ProductionPlan-89014103000000001-key")
    document = {"ratePlan": "Production", "iccid": "89014103000000001"}
    assert scrubber.scrub_document(document) is document


def test_remembered_secrets_are_in_no_text_whatever_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_text, "_KNOWN", {})
    secret = "aws/5ecret+of-the-worker"
    forms = remember_secrets(secret, None, "", user="AKIAWORKER")
    assert secret in forms and quote(secret, safe="") in forms
    assert remember_secrets(secret, user="AKIAWORKER") == ()
    for form in forms:
        text = f"S3 said: {form} is wrong"
        assert storable_error(RuntimeError(text)) == "S3 said: *** is wrong"
        assert clean_text(text) == "S3 said: *** is wrong"
    assert storable_error(f"cut: {secret[:14]}") == "cut: ***"


def test_texts_that_come_again_are_scrubbed_as_at_first() -> None:
    scrubber = SecretScrubber("the-secret-key")
    clean, dirty = {"status": "ACTIVATED"}, {"status": "the-secret-key"}
    for _ in range(3):
        assert scrubber.scrub_document(clean) is clean
        assert scrubber.scrub_document(dirty) == {"status": "***"}


def test_a_secret_that_is_a_number_is_found_in_numbers() -> None:
    assert SecretScrubber("4711471147").scrub_document(["894711471147000001"]) == ["89***000001"]


def test_a_scrubber_remembers_a_limited_number_of_short_texts() -> None:
    scrubber = SecretScrubber("the-secret-key")
    scrubber.scrub_document([f"text {number}" for number in range(5000)] + ["long " * 100])
    assert len(scrubber._clean) <= 2000
    assert max(map(len, scrubber._clean)) <= 64
