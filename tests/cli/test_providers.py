"""`glimt providers`: a key that works is kept, one that does not is not, and none is ever shown."""

import io
import sys
from pathlib import Path

import pytest

from glimt.app.keys import kept_keys
from glimt.cli.main import main
from tests.cli.conftest import ScriptedServer

KEY = "sk-secret-of-mine"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no keys."""
    monkeypatch.setenv("GLIMT_HOME", str(tmp_path))
    for name in ("ZAI_API_KEY", "Z_AI_API_KEY", "NOVITA_API_KEY", "RACK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def server(scripted_server: ScriptedServer) -> ScriptedServer:
    return scripted_server


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A function: run a command with this input; its code, and all that it said."""

    def run(*words: str, given: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        code = main(["providers", *words])
        captured = capsys.readouterr()
        assert KEY not in captured.out + captured.err
        return code, captured.out + captured.err

    return run


def at(home: Path, server: ScriptedServer) -> None:
    """Z.ai is that server."""
    (home / "config.toml").write_text(f'# mine\n[providers.zai]\nbase_url = "{server.url}/v1"\n')


def test_a_key_that_works(home: Path, server: ScriptedServer, said):
    """It is tried with one short question, kept where only its owner reads it, and then used."""
    at(home, server)
    before = (home / "config.toml").read_text()
    code, text = said("add", "z.ai", given=f"{KEY}\n")
    assert code == 0
    assert "glm-4.5-flash answers" in text
    assert kept_keys(home) == {"ZAI_API_KEY": KEY}
    assert (home / "config.toml").read_text() == before
    [asked] = server.requests
    assert asked["max_tokens"] <= 16
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    code, text = said("list", "--check")
    row = next(line for line in text.splitlines() if line.startswith("zai "))
    assert "ready: ZAI_API_KEY in keys.toml" in row
    assert "answers" in row
    assert "from $0" in row
    assert "glm-4.7-flash" in row


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ((401, "who are you, {key}?"), "the key was refused"),
        ((404, "no"), "it has no model"),
        ((500, "oh {key}"), "zai answered 500: oh [key]"),
    ],
)
def test_a_key_that_does_not(home: Path, server: ScriptedServer, said, error, why):
    """It is not kept, unless that is asked for, and why is said."""
    at(home, server)
    server.error = (error[0], error[1].format(key=KEY))
    code, text = said("add", "zai", given=KEY)
    assert code == 1
    assert why in text
    assert kept_keys(home) == {}
    assert said("add", "zai", "--no-check", given=KEY)[0] == 0
    assert kept_keys(home) == {"ZAI_API_KEY": KEY}


@pytest.mark.parametrize(("status", "why"), [(402, "account is empty"), (429, "limit is reached")])
def test_a_key_that_is_right(home: Path, server: ScriptedServer, said, status: int, why: str):
    """A place that knows us and does not answer now is added, with a word about it."""
    at(home, server)
    server.error = (status, "no")
    code, text = said("add", "zai", given=KEY)
    assert code == 0
    assert why in text
    assert kept_keys(home) == {"ZAI_API_KEY": KEY}


def test_a_place_of_ones_own_that_wants_a_key(home: Path, server: ScriptedServer, said):
    """No key is blamed that nobody sent: how to give one is said."""
    server.error = (401, "who are you?")
    place = ("--base-url", f"{server.url}/v1", "--model", "glm-4.7-flash=nano")
    code, text = said("add", "rack", *place, given=KEY)
    assert code == 1
    assert "it wants a key: say --key" in text


def test_a_place_that_cannot_be_reached(home: Path, said):
    """Nothing is written."""
    (home / "config.toml").write_text('[providers.zai]\nbase_url = "http://127.0.0.1:9/v1"\n')
    code, text = said("add", "zai", given=KEY)
    assert code == 1
    assert "takes no connection" in text
    assert kept_keys(home) == {}


def test_a_variable_in_place_of_a_key(home: Path, server: ScriptedServer, said, monkeypatch):
    """The configuration names it, and no key is asked for or kept."""
    at(home, server)
    code, text = said("add", "zai", "--key-env", "MY_KEY")
    assert code == 1
    assert "MY_KEY is not set" in text
    monkeypatch.setenv("MY_KEY", KEY)
    assert said("add", "zai", "--key-env", "MY_KEY")[0] == 0
    text = (home / "config.toml").read_text()
    assert text == (
        f'# mine\n[providers.zai]\nkey_env = ["MY_KEY"]\nbase_url = "{server.url}/v1"\n'
    )
    assert not (home / "keys.toml").exists()
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_variable_that_is_set_already(home: Path, server: ScriptedServer, said, monkeypatch):
    """It is tried, and nothing has to be written."""
    at(home, server)
    monkeypatch.setenv("Z_AI_API_KEY", KEY)
    code, text = said("add", "zai")
    assert code == 0
    assert "Z_AI_API_KEY is set" in text
    assert not (home / "keys.toml").exists()


def test_a_server_of_one_s_own(home: Path, server: ScriptedServer, said):
    """Its table is written, its key is kept under a name of its own, and both go again."""
    words = ("add", "rack", "--kind", "vllm", "--base-url", f"{server.url}/v1")
    code, text = said(*words, "--model", "glm-4.7-flash=flash", "--key", given=KEY)
    assert code == 0, text
    assert (home / "config.toml").read_text() == (
        f'[providers.rack]\nkind = "vllm"\nbase_url = "{server.url}/v1"\n'
        'key_env = ["RACK_API_KEY"]\nmodels = { "glm-4.7-flash" = "flash" }\n'
    )
    assert kept_keys(home) == {"RACK_API_KEY": KEY}
    assert server.requests[0]["model"] == "flash"
    assert "rack" in said("list")[1]
    assert said("remove", "rack")[0] == 0
    assert kept_keys(home) == {}
    assert (home / "config.toml").read_text() == ""
    assert said("remove", "rack")[0] == 1


def test_what_is_still_asked_after_it_was_removed(home: Path, said, monkeypatch):
    """A variable of the environment is not ours to unset, so that is said."""
    monkeypatch.setenv("NOVITA_API_KEY", KEY)
    code, text = said("remove", "novita")
    assert code == 0
    assert "NOVITA_API_KEY is set" in text
    monkeypatch.delenv("NOVITA_API_KEY")
    assert said("remove", "novita")[0] == 1


@pytest.mark.parametrize(
    ("words", "given", "why"),
    [
        (("add",), "", "Say whom"),
        (("add", "nobody"), "", "The catalog has no provider"),
        (("add", "rack", "--base-url", "http://a"), "", "give base_url and models"),
        (("add", "vllm"), "", "Say where your vLLM is"),
        (("add", "zai"), "\n", "No key of Z.ai was given"),
        (("add", "zai"), "two words\n", "neither spaces"),
        (("remove", "nobody"), "", "no provider 'nobody'"),
    ],
)
def test_mistakes(said, words: tuple[str, ...], given: str, why: str):
    """Each is a sentence that says what to do."""
    code, text = said(*words, given=given)
    assert code == 1
    assert why in text


def test_who_is_switched_off(home: Path, said):
    """A place that the configuration switches off is not added behind its back."""
    (home / "config.toml").write_text("[providers.zai]\nenabled = false\n")
    code, text = said("add", "zai", given=KEY)
    assert code == 1
    assert "enabled = false" in text


def test_a_lost_passphrase(home: Path, server: ScriptedServer, said, monkeypatch):
    """A sealed key is used with its passphrase, and can be forgotten without it."""
    at(home, server)
    monkeypatch.setenv("GLIMT_KEYS_PASSPHRASE", "open sesame")
    assert said("add", "zai", given=KEY)[0] == 0
    assert KEY not in (home / "keys.toml").read_text()
    assert "ready: ZAI_API_KEY in keys.toml" in said("list")[1]
    monkeypatch.delenv("GLIMT_KEYS_PASSPHRASE")
    code, text = said("list")
    assert code == 1
    assert "set GLIMT_KEYS_PASSPHRASE" in text
    assert said("remove", "zai")[0] == 0
    assert said("list")[0] == 0
