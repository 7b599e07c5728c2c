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


def test_names_mean_what_they_mean_to_the_server(capsys, settings):
    """Presets are unpacked and rules kept, as for a request."""
    (settings / "config.toml").write_text(
        '[presets.fast]\nmodel = "glm-4.7-flash"\n'
        '[[rules]]\nmodel = "gpt-*"\nrewrite = "@preset/fast"\n'
        '[[rules]]\nmodel = "glm-4.6"\ndeny = "too old"\n'
    )
    for name in ("@preset/fast", "gpt-4o"):
        assert main(["route", name]) == 0
        assert "1. zai/glm-4.7-flash" in capsys.readouterr().out
    assert main(["route", "glm-4.6"]) == 1
    assert "too old" in capsys.readouterr().err


def test_an_unknown_model(capsys):
    """What the catalog does not have is an error that lists what it has."""
    assert main(["route", "gpt-9"]) == 1
    assert "glimt/nano, z-ai/glm-4.7" in capsys.readouterr().err


def test_the_engine_here_is_a_place(capsys, monkeypatch):
    """What a server would run itself is in the plan: by its own name, or standing in."""
    monkeypatch.delenv("ZAI_API_KEY")
    assert main(["route", "glimt/nano"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "1. local/nano: on this machine"
    assert main(["route", "glm-4.7-flash"]) == 0
    first, *others = capsys.readouterr().out.splitlines()[1:]
    assert first.startswith("1. local/nano: on this machine; glimt/nano stands in")
    assert "-  zai/glm-4.7-flash: set ZAI_API_KEY or Z_AI_API_KEY" in others


def test_no_stand_in_where_somebody_serves_it(capsys):
    """As in a request, the engine here stands in only for what nobody serves."""
    assert main(["route", "glm-4.7-flash"]) == 0
    assert "local/nano" not in capsys.readouterr().out


def test_the_configured_model_is_the_one_here(capsys, monkeypatch):
    """The real model on this machine is no stand-in, and comes before what is elsewhere."""
    monkeypatch.setenv("GLIMT__ENGINE__MODEL", "zai-org/GLM-4.7-Flash")
    assert main(["route", "glm-4.7-flash"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "1. local/glm-4.7-flash: on this machine"
    assert lines[2].startswith("2. zai/glm-4.7-flash")


def test_no_engine_without_torch(capsys, monkeypatch):
    """Where the engine cannot run, its row says what it lacks."""
    monkeypatch.setattr("glimt.cli.route.importlib.util.find_spec", lambda name: None)
    assert main(["route", "glimt/nano"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Nobody would answer.")
    assert "-  local/nano: install PyTorch" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--sort", "cheap"], 2, '"price", "throughput", "latency", "exacto"'),
        (["--only", "nobody"], 1, "--only: there is no provider 'nobody'. There is: local, zai"),
        (["--prefer", "deepinfa"], 1, "Did you mean deepinfra?"),
    ],
)
def test_wishes_that_cannot_be_are_named(capsys, words, code, said):
    """A value that means nothing ends the command with those that do."""
    assert main(["route", "glm-4.7", *words]) == code
    assert said in capsys.readouterr().err


def test_a_preference_without_effect_is_named(capsys):
    """A provider that exists but cannot answer this is told of beside the plan."""
    assert main(["route", "glm-4.7-flash", "--prefer", "Cerebras", "--prefer", "zai"]) == 0
    out = capsys.readouterr().out
    assert "!  --prefer was not honoured in part: 'Cerebras' does not serve this model" in out
