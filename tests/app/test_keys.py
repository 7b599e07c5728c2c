"""Keys that are kept: readable by their owner alone, and by nobody through an error."""

from pathlib import Path

import pytest

from glimt.app.config import ConfigError, load
from glimt.app.elsewhere import read_available
from glimt.app.keys import FILE_NAME, forget_key, keep_key, kept_keys, with_kept_keys
from glimt.app.private import write_whole

KEY = 'sk-"odd\\key'


def test_a_key_is_kept_and_forgotten(tmp_path: Path):
    """What is put in comes out; the file is its owner's from the first byte on."""
    home = tmp_path / "home"
    path = keep_key(home, "ZAI_API_KEY", "first")
    keep_key(home, "B", KEY)
    keep_key(home, "ZAI_API_KEY", "second")
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_keys(home) == {"ZAI_API_KEY": "second", "B": KEY}
    assert [file.name for file in home.iterdir()] == [FILE_NAME]
    assert forget_key(home, "B")
    assert not forget_key(home, "B")
    assert kept_keys(home) == {"ZAI_API_KEY": "second"}


def test_the_environment_wins(tmp_path: Path):
    """A variable that is set is not looked for elsewhere; one that is empty is not set."""
    keep_key(tmp_path, "A", "kept")
    keep_key(tmp_path, "B", "kept")
    assert with_kept_keys(tmp_path, {"A": "set", "B": " ", "C": "c"}) == {
        "A": "set",
        "B": "kept",
        "C": "c",
    }


def test_a_file_that_others_may_read_is_refused(tmp_path: Path):
    """The error says what to do."""
    keep_key(tmp_path, "A", "kept").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        kept_keys(tmp_path)


@pytest.mark.parametrize("text", ["A = sk-secret", "A = 5", '[sk-secret]\nx = "y"'])
def test_a_damaged_file_does_not_tell_a_key(tmp_path: Path, text: str):
    """What is wrong is said without quoting the file."""
    write_whole(tmp_path / FILE_NAME, text, private=True)
    with pytest.raises(ConfigError) as caught:
        kept_keys(tmp_path)
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_name_that_is_none(tmp_path: Path):
    """Only names of variables are kept."""
    with pytest.raises(ConfigError, match="no name"):
        keep_key(tmp_path, "a b", "x")


def test_a_kept_key_is_enough(tmp_path: Path):
    """A server that starts with nothing else has the place."""
    config = load(environ={"GLIMT_HOME": str(tmp_path)})
    assert read_available(config, with_kept_keys(tmp_path, {})).deployments == ()
    keep_key(tmp_path, "ZAI_API_KEY", "kept")
    assert "zai" in read_available(config, with_kept_keys(tmp_path, {})).providers


def test_a_file_keeps_its_mode_and_its_link(tmp_path: Path):
    """What is not private stays as open as it was, and where it was."""
    real = tmp_path / "real.toml"
    real.write_text("a")
    real.chmod(0o644)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    write_whole(link, "b", private=False)
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("b", 0o644)


def test_a_sealed_key(tmp_path: Path):
    """With a passphrase nothing of a key is in the file; the same one opens it, and no other."""
    path = keep_key(tmp_path, "A", KEY, "open sesame")
    keep_key(tmp_path, "B", "plain")
    assert KEY not in path.read_text()
    assert "odd" not in path.read_text()
    assert kept_keys(tmp_path, "open sesame") == {"A": KEY, "B": "plain"}
    environ = {"GLIMT_KEYS_PASSPHRASE": "open sesame"}
    assert with_kept_keys(tmp_path, environ)["A"] == KEY
    for passphrase, why in (("", "set GLIMT_KEYS_PASSPHRASE"), ("open barley", "another")):
        with pytest.raises(ConfigError, match=why) as caught:
            kept_keys(tmp_path, passphrase)
        assert "sealed1:" not in str(caught.value)
    before = path.read_text()
    keep_key(tmp_path, "A", KEY, "open sesame")
    assert path.read_text() != before
    keep_key(tmp_path, "C", "third", "open sesame")
    assert kept_keys(tmp_path, "open sesame")["C"] == "third"
    assert forget_key(tmp_path, "C")
    assert forget_key(tmp_path, "A")
    assert kept_keys(tmp_path) == {"B": "plain"}


@pytest.mark.parametrize("text", ["sealed1:", "sealed1:xx", "sealed1:AAAA:gAAA", "sealed1:é:é"])
def test_a_damaged_seal(tmp_path: Path, text: str):
    """It is said which key it is."""
    write_whole(tmp_path / FILE_NAME, f'A = "{text}"', private=True)
    with pytest.raises(ConfigError, match=r"A in keys\.toml"):
        kept_keys(tmp_path, "x")
