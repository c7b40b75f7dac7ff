"""Test that PostgreSQL accepts the SQL statements of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[3]
STATEMENT = re.compile(r"(?:`|^ {4}|^)((?:SELECT|UPDATE|DELETE)\b[^`\n;]* (?:FROM|SET) [^`\n;]+)", re.MULTILINE)


def documented_statements() -> dict[str, str]:
    """Return the statements of all documents and DAG descriptions, with placeholders filled in, by their text."""
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "dags").glob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in sources if path.suffix == ".md"]
    # The statements in the docstring of a DAG may be wrapped.
    texts += [" ".join(path.read_text(encoding="utf-8").split("\n")) for path in sources if path.suffix == ".py"]
    found = {statement for text in texts for statement in STATEMENT.findall(text)}
    return {statement: statement.replace("'…'", "''").replace("…", "1").replace("SESSION", "1") for statement in found}


def test_documented_statements_match_the_schema(shared_warehouse_dsn: str) -> None:
    statements = documented_statements()
    assert len(statements) >= 4
    errors = {}
    with psycopg.connect(shared_warehouse_dsn, autocommit=True) as connection:
        for statement, executable in statements.items():
            try:
                connection.execute(f"EXPLAIN {executable}")  # type: ignore[arg-type]
            except psycopg.Error as error:
                errors[statement] = str(error).partition("\n")[0]
    assert errors == {}
