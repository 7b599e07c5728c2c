"""`glimt bench` against a scripted server."""

import msgspec
import pytest


def test_the_last_line_is_json(glimt, scripted_server) -> None:
    """A table for people, then one line with everything for programs."""
    run = glimt(
        *("bench", "--url", scripted_server.url, "--concurrency", "1", "2", "--requests", "3"),
        *("--output-tokens", "4"),
    )
    assert run.returncode == 0
    *shown, last = run.stdout.splitlines()
    document = msgspec.json.decode(last)
    assert [level["concurrency"] for level in document["levels"]] == [1, 2]
    assert [level["num_requests"] for level in document["levels"]] == [3, 3]
    assert document["shape"]["model"] == "scripted/one"
    assert document["client"]["cores"] >= 1
    assert any(line.split()[:4] == ["2", "0", "of", "3"] for line in shown)
    # Two trial requests come first; every one asks for the whole length.
    assert len(scripted_server.requests) == 2 + 6
    assert {request["min_tokens"] for request in scripted_server.requests[2:]} == {4}


def test_json_alone(glimt, scripted_server) -> None:
    """--json prints nothing but the line."""
    run = glimt("bench", "--json", "--url", scripted_server.url, "--requests", "1")
    assert len(run.stdout.splitlines()) == 1
    assert len(msgspec.json.decode(run.stdout)["levels"]) == 3


def test_a_server_that_refuses_is_named(glimt, scripted_server) -> None:
    """When the first trial is refused nothing is measured, and the server's reason is shown."""
    scripted_server.error = (400, "ignore_eos is unknown here")
    run = glimt("bench", "--url", scripted_server.url)
    assert run.returncode == 1
    assert "ignore_eos is unknown here" in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--concurrency", "0"),
        ("--requests", "0"),
        ("--requests", "-1"),
        ("--output-tokens", "0"),
        ("--shared-tokens", "-1"),
        ("--temperature", "nan"),
    ],
)
def test_a_load_of_nothing_is_refused(glimt, scripted_server, option, value) -> None:
    """Zero clients, requests or tokens are a mistake of whoever asked."""
    run = glimt("bench", "--url", scripted_server.url, option, value)
    assert run.returncode == 1
    assert f"{option} has to be at least" in run.stderr
    assert scripted_server.requests == []
