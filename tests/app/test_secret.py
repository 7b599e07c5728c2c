"""The secret of a home folder: one for all processes, kept, and readable by its owner alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glimt.app.secret import FILE_NAME, SIZE, thought_secret


def test_everybody_has_the_same_one(tmp_path: Path):
    """However many ask for it first."""
    home = tmp_path / "new"
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: thought_secret(home), range(64)))
    assert found == {(home / FILE_NAME).read_bytes()}
    assert [file.name for file in home.iterdir()] == [FILE_NAME]
    assert (home / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_one_that_is_damaged_is_not_trusted(tmp_path: Path):
    """Nor overwritten: each process has one of its own then."""
    (tmp_path / FILE_NAME).write_bytes(b"short")
    first, second = thought_secret(tmp_path), thought_secret(tmp_path)
    assert len(first) == SIZE
    assert first != second
    assert (tmp_path / FILE_NAME).read_bytes() == b"short"
