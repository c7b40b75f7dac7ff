"""A folder with the files of ``amop optimize``, for the tests of this command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.optimize_folder import Folder


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path, capsys)
