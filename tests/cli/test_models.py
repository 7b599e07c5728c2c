"""`glimt models` against a scripted server."""

import msgspec


def test_models_lists_what_the_server_offers(glimt, scripted_server) -> None:
    """One line a model: its id, its context, whose it is."""
    run = glimt("models", "--url", scripted_server.url)
    assert run.returncode == 0
    first = run.stdout.splitlines()[0]
    assert first.split() == ["scripted/one", "4,096", "tokens", "tests"]


def test_models_as_json(glimt, scripted_server) -> None:
    """--json gives one object a line, for programs."""
    run = glimt("models", "--json", "--url", scripted_server.url)
    rows = [msgspec.json.decode(line) for line in run.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["scripted/one", "scripted/one"]
    assert rows[0]["context_length"] == 4096


def test_without_a_server_the_shipped_model_is_named(glimt) -> None:
    """Nobody at the configured address: what `glimt serve` would offer, and a word on stderr."""
    run = glimt("models", GLIMT_PORT="9")
    assert run.returncode == 0
    assert run.stdout.startswith("glimt/nano")
    assert "No server runs here" in run.stderr


def test_an_address_that_was_named_must_answer(glimt) -> None:
    """With --url silence is an error."""
    run = glimt("models", "--url", "http://127.0.0.1:9")
    assert run.returncode == 1
    assert "Nobody answers" in run.stderr
