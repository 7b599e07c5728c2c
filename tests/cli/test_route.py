"""`glimt route`."""

import pytest

from glimt.cli.main import main


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """A home of its own, and one key."""
    monkeypatch.setenv("GLIMT_HOME", str(tmp_path))
    for name in ("NOVITA_API_KEY", "DEEPINFRA_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZAI_API_KEY", "the-secret")
    return tmp_path


def test_a_plan_with_reasons(capsys):
    """Places with a key are in order; each of the others says what it lacks; no key is shown."""
    assert main(["route", "glm-4-7-flash"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("1. zai/glm-4.7-flash")
    assert "-  novita/glm-4.7-flash: set NOVITA_API_KEY" in lines
    assert "the-secret" not in "\n".join(lines)


def test_wishes_are_the_requests(capsys):
    """What may answer is narrowed as a request would."""
    assert main(["route", "glm-4.7-flash", "--only", "deepinfra"]) == 0
    assert "zai/glm-4.7-flash: not among those that are allowed" in capsys.readouterr().out


def test_the_list(capsys, settings):
    """Without a model every deployment is shown with its price and whether it can be called."""
    (settings / "config.toml").write_text("[providers.zai]\nenabled = false\n")
    assert main(["route"]) == 0
    out = capsys.readouterr().out
    assert "zai/glm-4.7-flashx" in out
    assert "$0.07 in, $0.4 out" in out
    assert "switched off" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[providers.zia]\nenabled = true\n", "did you mean zai?"),
        ("[providers.zai]\nenable = true\n", "did you mean enabled?"),
        ("[catalog]\nfile = 'none.toml'\n", "none.toml cannot be read"),
        ("[routing]\nsort = 'speed'\n", "routing.sort"),
    ],
)
def test_mistakes_in_settings_are_named(capsys, settings, text, said):
    """A wrong setting ends the command with its path and a way out."""
    (settings / "config.toml").write_text(text)
    assert main(["route", "glm-4.7"]) == 1
    assert said in capsys.readouterr().err


def test_an_unknown_model(capsys):
    """What the catalog does not have is an error that lists what it has."""
    assert main(["route", "gpt-9"]) == 1
    assert "z-ai/glm-4.7" in capsys.readouterr().err
