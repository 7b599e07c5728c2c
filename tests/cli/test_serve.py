"""Which option of `glimt serve` is which setting."""

from pathlib import Path

import pytest

from glimt.app.config import Config
from glimt.cli import main as cli


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Config]:
    """What the server was started with; it is not really started."""
    configs: list[Config] = []
    monkeypatch.setenv("GLIMT_HOME", str(tmp_path))
    monkeypatch.setattr("glimt.cli.serve.run_server", configs.append)
    return configs


def test_nothing_said_means_the_defaults(served: list[Config], tmp_path: Path) -> None:
    """`glimt serve` alone runs the model that ships, on loopback, at the default port."""
    assert cli.main(["serve"]) == 0
    assert served == [Config(home=tmp_path)]
    assert served[0].engine.model == "glimt/nano"
    assert (served[0].host, served[0].port) == ("127.0.0.1", 4747)


def test_every_option_reaches_its_setting(served: list[Config], tmp_path: Path) -> None:
    """Each option changes the setting of its name and no other."""
    words = (
        "serve some/model --host 127.0.0.2 --port 5000 --processes 2 --log-level warning "
        "--revision main --device cpu --dtype bfloat16 --load-format dummy --cache-gb 0.5 "
        "--context-length 1024 --max-sequences 8 --no-prefix-cache --threads 3"
    )
    assert cli.main(words.split()) == 0
    [config] = served
    assert (config.host, config.port, config.processes) == ("127.0.0.2", 5000, 2)
    assert config.log.level == "warning"
    engine = config.engine
    assert (engine.model, engine.revision) == ("some/model", "main")
    assert (engine.device, engine.dtype, engine.load_format) == ("cpu", "bfloat16", "dummy")
    assert (engine.cache_gb, engine.context_length) == (0.5, 1024)
    assert (engine.max_sequences, engine.threads, engine.prefix_cache) == (8, 3, False)
    assert config == Config(
        host=config.host,
        port=config.port,
        processes=config.processes,
        log=config.log,
        engine=config.engine,
        home=tmp_path,
    )


def test_the_command_line_wins(
    served: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option wins over a variable, a variable over the file that --config names."""
    file = tmp_path / "other.toml"
    file.write_text("port = 1111\nhost = '127.0.0.9'\n[engine]\nmax_sequences = 5\n")
    monkeypatch.setenv("GLIMT_PORT", "2222")
    monkeypatch.setenv("GLIMT_HOST", "127.0.0.3")
    assert cli.main(["serve", "--config", str(file), "--port", "3333"]) == 0
    assert (served[0].port, served[0].host, served[0].engine.max_sequences) == (
        3333,
        "127.0.0.3",
        5,
    )


def test_a_bad_setting_is_one_sentence(
    served: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be is said on stderr, and nothing is started."""
    assert cli.main(["serve", "--host", "0.0.0.0"]) == 1
    said = capsys.readouterr()
    assert served == []
    assert said.err.startswith("glimt: host: 0.0.0.0 can be reached from other machines")
    assert len(said.err.splitlines()) == 1
