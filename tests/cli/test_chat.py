"""`glimt chat` against a scripted server: through a pipe, and in a terminal."""

import codecs
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

DIM, RESET = "\x1b[2m", "\x1b[0m"

# A terminal becomes a session's own when its first process opens it; only then does Ctrl-C work.
TAKE_TERMINAL = (
    "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_pipe_gets_the_answer_alone(glimt, scripted_server) -> None:
    """Through a pipe stdout holds the answer and nothing else: no thinking, no styles."""
    run = subprocess.run(
        [sys.executable, "-m", "glimt.cli", "chat", "--url", scripted_server.url],
        input="hi\n",
        capture_output=True,
        text=True,
        env=glimt.environment(),
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "Hello, 世界!\n", "")
    assert scripted_server.requests[0]["messages"] == [{"role": "user", "content": "hi"}]
    assert scripted_server.requests[0]["model"] == "scripted/one"


def test_prompt_and_pipe_are_one_question(glimt, scripted_server) -> None:
    """An argument says what to do with what the pipe brings."""
    glimt("chat", "Sum this up:", "--url", scripted_server.url, stdin="a long text\n")
    question = scripted_server.requests[0]["messages"][0]["content"]
    assert question == "Sum this up:\n\na long text"


def test_options_travel(glimt, scripted_server) -> None:
    """What the options say is what the server is asked."""
    glimt(
        *("chat", "hi", "--url", scripted_server.url, "--model", "other", "--system", "Be kind."),
        *("--no-think", "--temperature", "0.5", "--max-tokens", "9", "--api-key", "secret"),
    )
    asked = scripted_server.requests[0]
    assert asked["model"] == "other"
    assert asked["messages"][0] == {"role": "system", "content": "Be kind."}
    assert asked["thinking"] == {"type": "disabled"}
    assert asked["temperature"] == 0.5
    assert asked["max_tokens"] == 9
    assert scripted_server.headers[0]["Authorization"] == "Bearer secret"


def test_what_was_not_chosen_is_not_sent(glimt, scripted_server) -> None:
    """Without options only what every server understands is sent."""
    glimt("chat", "hi", "--url", scripted_server.url)
    assert set(scripted_server.requests[0]) == {"model", "messages", "stream", "stream_options"}


def test_the_configured_server_is_found(glimt, scripted_server) -> None:
    """Without an address the one of GLIMT_HOST and GLIMT_PORT is asked."""
    run = glimt("chat", "hi", GLIMT_PORT=str(scripted_server.port), GLIMT_HOST="127.0.0.1")
    assert run.stdout == "Hello, 世界!\n"


def test_a_refusal_is_one_sentence(glimt, scripted_server) -> None:
    """The server's own words reach the person, with exit code 1."""
    scripted_server.error = (400, "temperature must be at most 2")
    run = glimt("chat", "hi", "--url", scripted_server.url)
    assert run.returncode == 1
    assert "temperature must be at most 2 (HTTP 400)" in run.stderr
    assert "Traceback" not in run.stderr


def test_nobody_there(glimt) -> None:
    """An address where nobody listens is named."""
    run = glimt("chat", "hi", "--url", "http://127.0.0.1:9")
    assert run.returncode == 1
    assert run.stderr == "glimt: Nobody answers at this address: http://127.0.0.1:9/v1\n"


def test_an_empty_pipe_is_a_mistake(glimt) -> None:
    """Nothing to ask is said before any server is looked for."""
    run = glimt("chat", stdin=" \n")
    assert run.returncode == 1
    assert "nothing to ask" in run.stderr


@dataclass
class Terminal:
    """The person's side of a pseudo-terminal."""

    process: subprocess.Popen
    master: int
    seen: str = ""
    decoder: codecs.IncrementalDecoder = field(
        default_factory=codecs.getincrementaldecoder("utf-8")
    )

    def read_until(self, text: str, deadline_s: float = 60) -> str:
        """Everything shown up to and with `text`, since the last call."""
        end = time.monotonic() + deadline_s
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                pytest.fail(f"{text!r} did not come; so far: {self.seen!r}")
            self.seen += self.decoder.decode(os.read(self.master, 4096))
        shown, self.seen = self.seen.split(text, 1)
        return shown + text

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())


@contextmanager
def terminal(glimt, *words: str, **changes: str) -> Iterator[Terminal]:
    """A command that runs in a terminal of its own."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, sys.executable, "-m", "glimt.cli", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=glimt.environment(**changes),
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)


def test_thinking_is_dimmed_in_a_terminal(glimt, scripted_server) -> None:
    """A person sees the thought dimmed, then the answer plain, then the next prompt."""
    with terminal(glimt, "chat", "--url", scripted_server.url) as person:
        assert "scripted/one" in person.read_until("› ")
        person.type("hello\n")
        shown = person.read_until("› ")
        assert f"{DIM}Let me {RESET}{DIM}think.{RESET}" in shown
        assert "Hello, 世界!" in shown
        assert "4 tokens" in shown
        person.type("/exit\n")
        assert person.process.wait(30) == 0


def test_no_color_is_obeyed(glimt, scripted_server) -> None:
    """With NO_COLOR the same is shown without a style of ours."""
    with terminal(glimt, "chat", "hello", "--url", scripted_server.url, NO_COLOR="1") as person:
        shown = person.read_until("4 tokens")
        assert "Let me think." in shown
        assert "\x1b[" not in shown


def test_ctrl_c_stops_the_answer_not_the_conversation(glimt, scripted_server) -> None:
    """Ctrl-C hangs up on the server, keeps what was shown, and asks for the next line."""
    scripted_server.hangs = True
    with terminal(glimt, "chat", "--url", scripted_server.url) as person:
        person.read_until("› ")
        person.type("hello\n")
        person.read_until("世界!")
        person.type("\x03")
        person.read_until("[stopped]")
        person.read_until("› ")
        assert scripted_server.hung_up.wait(10)
        person.type("again\n")
        person.read_until("4 tokens")
        person.read_until("› ")
        person.type("\x04")
        assert person.process.wait(30) == 0
    roles = [message["role"] for message in scripted_server.requests[1]["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_a_model_cannot_move_the_cursor(glimt, scripted_server) -> None:
    """Control characters in an answer never reach the terminal."""
    scripted_server.pieces = [("content", "a\x1b]0;owned\x07b\x1b[2J\rc")]
    with terminal(glimt, "chat", "hello", "--url", scripted_server.url, NO_COLOR="1") as person:
        shown = person.read_until("4 tokens")
    assert "a]0;ownedb[2Jc" in shown
