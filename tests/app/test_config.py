"""Configuration: file, environment, command line, and complaints that name the key."""

from pathlib import Path

import pytest

from glimt.app.config import Config, ConfigError, LogSettings, is_loopback, load
from glimt.engine.settings import EngineSettings


def write(home: Path, text: str) -> dict[str, str]:
    (home / "config.toml").write_text(text)
    return {"GLIMT_HOME": str(home)}


def test_defaults(tmp_path: Path):
    """Nothing needs to be configured: loopback, port 4747, nano."""
    config = load(environ={"GLIMT_HOME": str(tmp_path)})
    assert config == Config(home=tmp_path)
    assert (config.host, config.port, config.engine.model) == ("127.0.0.1", 4747, "glimt/nano")
    assert load(environ={}).home == Path.home() / ".glimt"


def test_order(tmp_path: Path):
    """The command line wins over the environment, which wins over the file."""
    environ = write(tmp_path, 'port = 1\nhost = "::1"\n[engine]\nmodel = "a"\nthreads = 3\n')
    environ |= {"GLIMT_PORT": "2", "GLIMT__ENGINE__MODEL": "b", "GLIMT__LOG__ACCESS": "false"}
    config = load(environ=environ, overrides={"port": 3, "engine.dtype": "float32", "host": None})
    assert (config.port, config.host) == (3, "::1")
    assert config.engine == EngineSettings(model="b", threads=3, dtype="float32")
    assert config.log == LogSettings(access=False)
    assert load(environ=environ).port == 2


def test_another_file(tmp_path: Path):
    """A file that is named must be there."""
    (tmp_path / "x.toml").write_text("port = 9")
    assert load(tmp_path / "x.toml", environ={}).port == 9
    with pytest.raises(ConfigError, match=r"no file .*missing\.toml"):
        load(tmp_path / "missing.toml", environ={})


def test_keys_from_the_environment(tmp_path: Path):
    """One key by its own variable, several as a JSON list; they add to those of the file."""
    environ = write(tmp_path, 'api_keys = ["a"]')
    assert load(environ={**environ, "GLIMT_API_KEY": "b"}).api_keys == ("a", "b")
    assert load(environ={**environ, "GLIMT__API_KEYS": '["c", "d"]'}).api_keys == ("c", "d")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prot = 1", "prot: no such key; did you mean port?"),
        ('[engine]\nmodle = "a"', "engine.modle: no such key; did you mean model?"),
        ("[log]\nxyz = 1", "log.xyz: no such key; there are access, format, level."),
        ('[engine]\nthreads = "3"', "engine.threads: expected an integer, got text."),
        ('port = "4747"', "port: expected an integer, got text."),
        ("port = 70000", "port: 70000 is not a port; take 0 to 65535."),
        ("processes = 0", "processes: at least one has to take requests."),
        ('api_keys = [" "]', "api_keys: a key cannot be empty."),
        ("engine = 3", "engine: expected a section, got an integer."),
        ('home = "/x"', "home: set GLIMT_HOME instead"),
        ("port = ", "is not TOML"),
        ('host = "0.0.0.0"', "host: 0.0.0.0 can be reached from other machines"),
    ],
)
def test_complaints(tmp_path: Path, text: str, complaint: str):
    """A mistake is answered with the key's whole path and what to do."""
    with pytest.raises(ConfigError) as caught:
        load(environ=write(tmp_path, text))
    assert complaint in str(caught.value)


def test_complaints_about_variables(tmp_path: Path):
    """The same goes for the environment and the command line."""
    home = {"GLIMT_HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match="port: expected an integer"):
        load(environ={**home, "GLIMT_PORT": "x"})
    with pytest.raises(ConfigError, match=r"engine\.modle: no such key"):
        load(environ={**home, "GLIMT__ENGINE__MODLE": "x"})
    with pytest.raises(ConfigError, match="port is a value, not a section"):
        load(environ={**home, "GLIMT_PORT": "1"}, overrides={"port.x": 1})


def test_strangers_need_a_key(tmp_path: Path):
    """Other machines may reach a server only if it has a key."""
    environ = {"GLIMT_HOME": str(tmp_path), "GLIMT_HOST": "0.0.0.0", "GLIMT_API_KEY": "k"}
    assert load(environ=environ).host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool):
    """Only addresses that certainly stay on this machine count."""
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GLIMT_PORT", "abc", "port: expected an integer, got text. It comes from GLIMT_PORT."),
        ("GLIMT_PORT", "99999", "port: 99999 is not a port; take 0 to 65535. It comes from"),
        ("GLIMT__ENGINE__MODLE", "a", "did you mean model? It comes from GLIMT__ENGINE__MODLE."),
        ("GLIMT__LOG__ACCESS", "x", "expected true or false, got text. It comes from"),
        ("GLIMT__API_KEYS", "[1]", "api_keys[0]: expected text, got an integer. It comes from"),
    ],
)
def test_a_variable_that_is_wrong_is_named(tmp_path: Path, name: str, value: str, said: str):
    """A complaint about a value names the variable that it came from."""
    with pytest.raises(ConfigError) as caught:
        load(environ={"GLIMT_HOME": str(tmp_path), name: value})
    assert said in str(caught.value)


def test_the_command_line_is_no_variable(tmp_path: Path):
    """A value that was said over a variable is not blamed on it."""
    with pytest.raises(ConfigError) as caught:
        load(environ={"GLIMT_HOME": str(tmp_path), "GLIMT_PORT": "1"}, overrides={"port": -1})
    assert "GLIMT_PORT" not in str(caught.value)
