"""Make foreign text storable and printable, and remove secrets from it, where it enters the package.

Foreign text is what a carrier, AMOP or AWS writes: error messages, names, values that are read back. It may hold NUL
characters, lone surrogates, terminal escape sequences, megabytes, or the credentials of the request that it answers.
Every error text of a client passes through `clean_text`, every response body through `SecretScrubber.scrub_document`.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote, quote_plus

LONGEST_ERROR = 2000
"""Longest stored error text in characters."""

LONGEST_NAME = 255
"""Longest name of a plan, provider or tenant in characters, at the carrier and in the reference file."""

REPLACEMENT = "***"
SHORTEST_SECRET = 6
"""A shorter secret is part of ordinary words: replacing it would destroy data and hide nothing."""
SHORTEST_PART = 8
"""A run of this many characters of a secret counts as a part of it, wherever truncation has cut the secret."""
SHORTEST_EDGE = 4
"""A shorter run counts at the start or the end of a text, where truncation leaves the rest of a secret."""

LONGEST_REMEMBERED = 64
MOST_REMEMBERED = 2_000
"""Length and number of the texts without a secret that a scrubber remembers: keys, statuses, names of plans."""

_AUTHORIZATION = re.compile(r"\b(Basic|Bearer)(\s+|%20|\+)([A-Za-z0-9+/=_.~%\-]{4,})", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"[A-Za-z]?[a-z]{0,19}[.]?")
_ESCAPED = {0x09: " ", 0x0A: " ", 0x0D: " ", 0x0B: " ", 0x0C: " ", 0x85: " ", 0xA0: " ", 0x2028: " ", 0x2029: " "}


class SecretScrubber:
    """Replace secrets in every form in which a server may return them.

    The forms are: plain, percent-encoded, hexadecimal, base64 of the secret, of ``user:secret`` (the value of HTTP
    Basic) and of any longer text with the secret in it, and the value of any ``Basic …`` or ``Bearer …``.

    Args:
        secrets: passwords, API keys and tokens; None and empty ones are ignored.
        user: the user name that is sent together with the secrets.
    """

    def __init__(self, *secrets: str | None, user: str | None = None) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret, user)}
        self._forms = sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._forms))) if self._forms else None
        self._parts = {
            form[at : at + SHORTEST_PART] for form in self._forms for at in range(len(form) - SHORTEST_PART + 1)
        }
        # A word or a number of a secret may be one of a document's names and identifiers: destroying those is worse.
        self._parts_in_documents = {part for part in self._parts if not part.isalpha() and not part.isdigit()}
        self._has_number = any(form.isdigit() for form in self._forms)
        self._clean: set[str] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    @property
    def forms(self) -> tuple[str, ...]:
        """All forms of the secrets, longest first."""
        return tuple(self._forms)

    def scrub(self, text: str) -> str:
        """Return a text without the secrets and without the values of ``Basic …`` and ``Bearer …``."""
        if self._pattern is not None:
            text = self._pattern.sub(REPLACEMENT, text)
        return _AUTHORIZATION.sub(_without_value, text)

    def scrub_parts(self, text: str) -> str:
        """Return a short text, such as an error message, also without the parts of secrets that truncation has left."""
        text = self.scrub_runs(text)
        for form in self._forms:
            for length in range(min(len(form), SHORTEST_PART), SHORTEST_EDGE - 1, -1):
                if text.endswith(form[:length]):
                    text = text[:-length] + REPLACEMENT
                if text.startswith(form[-length:]):
                    text = REPLACEMENT + text[length:]
        return text

    def scrub_runs(self, text: str) -> str:
        """Return a text without the secrets and without any run of characters that is a part of one."""
        return _without(self._parts, self.scrub(text))

    def scrub_document(self, document: Any) -> Any:
        """Return a JSON document without the secrets and their parts; the same object where it holds none.

        Where it holds one, values below 100 levels of nesting are replaced by a text that says so.
        """
        return self._scrubbed(document, DEEPEST) if self._is_in(document) else document

    def _is_in(self, document: Any) -> bool:
        """Return True if a text of the document holds a secret, at any depth."""
        texts: set[str] = set()
        waiting = [document]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str):
                texts.add(value)
            elif isinstance(value, dict):
                texts.update(value)
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
        # Names that come again with every SIM are judged once.
        return not all(map(self._is_clean, texts - self._clean))

    def _is_clean(self, text: str) -> bool:
        """Return True if a text holds no secret. Names that come again with every SIM are remembered."""
        # A number can only hold a secret that is a number, and has no part of another one.
        if text in self._clean or (not self._has_number and text.isascii() and text.isdigit()):
            return True
        if self.scrub_value(text) != text:
            return False
        if len(text) <= LONGEST_REMEMBERED:
            if len(self._clean) >= MOST_REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return True

    def _scrubbed(self, value: Any, levels_left: int) -> Any:
        if isinstance(value, str):
            return self.scrub_value(value)
        if not isinstance(value, dict | list):
            return value
        if not levels_left:
            return TOO_DEEP
        if isinstance(value, dict):
            return {self.scrub_value(key): self._scrubbed(item, levels_left - 1) for key, item in value.items()}
        return [self._scrubbed(item, levels_left - 1) for item in value]

    def scrub_value(self, text: str) -> str:
        """Return a text without the secrets and their parts, except for parts that are a word or a number."""
        return _without(self._parts_in_documents, self.scrub(text))


def _without(parts: set[str], text: str) -> str:
    """Return a text without the runs of characters that are among the parts of secrets."""
    marked = [at for at in range(len(text) - SHORTEST_PART + 1) if text[at : at + SHORTEST_PART] in parts]
    if not marked:
        return text
    kept: list[str] = []
    end = 0
    for at in marked:
        if at > end or not kept:
            kept += [text[end:at], REPLACEMENT]
        end = max(end, at + SHORTEST_PART)
    return "".join([*kept, text[end:]])


NO_SECRETS = SecretScrubber()
_KNOWN: dict[tuple[str, ...], SecretScrubber] = {}
"""The scrubbers of the secrets that this process uses, by their forms."""

DEEPEST = 100
"""Levels of nesting of a response body that are kept; carriers' documents have at most ten."""
TOO_DEEP = "(nested too deeply)"


def remember_secrets(*secrets: str | None, user: str | None = None) -> tuple[str, ...]:
    """Keep secrets out of every text that this module cleans in this process, wherever the text comes from.

    Args:
        secrets: passwords, API keys and tokens; None and empty ones are ignored.
        user: the user name that is sent together with the secrets.

    Returns:
        All forms of the secrets that were not known before.
    """
    scrubber = SecretScrubber(*secrets, user=user)
    if not scrubber.forms or scrubber.forms in _KNOWN:
        return ()
    _KNOWN[scrubber.forms] = scrubber
    return scrubber.forms


def clean_text(value: object, *, scrubber: SecretScrubber = NO_SECRETS, maximum: int = LONGEST_ERROR) -> str:
    """Return foreign text in a form that PostgreSQL, JSON, a log and a terminal accept, without secrets. Never raises.

    Line feeds and tabs become spaces; NUL, lone surrogates, control and invisible characters are escaped, for example
    ``\\x00``; text beyond ``maximum`` characters is cut, with an ellipsis.

    Args:
        value: text, or any value of a JSON document.
        scrubber: the secrets of the account that the text comes from.
        maximum: longest result in characters.
    """
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as error:  # an integer of 5,000 digits has no str(); an exception's __str__ may fail
        text = f"({type(value).__name__} that cannot be shown: {type(error).__name__})"
    text = _printable(_without_known(scrubber.scrub_parts(text[: 4 * maximum + 1000]))).strip()
    return text if len(text) <= maximum else f"{text[: maximum - 1]}…"


def storable_error(error: BaseException | str) -> str:
    """Return an error's text in a form that PostgreSQL and JSON accept, with its line feeds. Never raises."""
    try:
        text = str(error)
    except Exception as second:
        text = f"{type(error).__name__}, whose text cannot be shown ({type(second).__name__})"
    text = _without_known(NO_SECRETS.scrub(text[:100_000]))
    lines = (_printable(line) for line in re.split(r"\r\n|\r|\n", text))
    return "\n".join(lines).strip()


def text_fault(value: str, *, longest: int) -> str | None:
    """Return why a text cannot be stored, None if it can."""
    if len(value) > longest:
        return f"has {len(value)} characters, more than {longest}"
    if "\x00" in value:
        return "has a NUL character"
    if not value.isascii() and _SURROGATE.search(value):
        return "has half a surrogate pair"
    return None


def cut_nesting(text: str) -> str:
    """Return a JSON text whose values below 100 levels of nesting are replaced by a text that says so."""
    pieces, depth, begin = [], 0, 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text, re.DOTALL):
        if token[0] in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                pieces.append(f'{text[begin : token.start()]}"{TOO_DEEP}"')
        elif token[0] in "]}":
            depth -= 1
            if depth == DEEPEST:
                begin = token.end()
    return "".join([*pieces, text[begin:]])


def _without_known(text: str) -> str:
    """Return a text without the secrets of `remember_secrets` and their parts, words and numbers apart."""
    for scrubber in _KNOWN.values():
        text = scrubber.scrub_value(text)
    return text


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _ESCAPED.get(ord(character)) or _escape(ord(character))
        for character in text
    )


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _without_value(found: re.Match[str]) -> str:
    """Replace the value of ``Basic …`` unless it is a word, as in "basic authentication is required"."""
    return found[0] if _WORD.fullmatch(found[3]) else f"{found[1]}{found[2]}{REPLACEMENT}"


def _forms(secret: str, user: str | None) -> set[str]:
    percent = {quote(secret, safe=""), quote_plus(secret), quote(secret)}
    forms = {secret, *percent, *(re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in percent)}
    for clear in (secret, f"{user}:{secret}") if user else (secret,):
        encoded = base64.b64encode(clear.encode("utf-8", "surrogatepass")).decode()
        forms |= {encoded, encoded.rstrip("="), quote(encoded, safe="")}
    in_hex = secret.encode("utf-8", "surrogatepass").hex()
    forms |= {in_hex, in_hex.upper()}
    for offset in range(3):
        # The first and last characters also depend on what stands around the secret.
        inner = base64.b64encode(b"\0" * offset + secret.encode("utf-8", "surrogatepass")).decode()
        inner = inner[4 if offset else 0 : -4]
        forms |= {inner} if len(inner) >= SHORTEST_PART else set()
    return forms | {form.translate(str.maketrans("+/", "-_")) for form in forms}
