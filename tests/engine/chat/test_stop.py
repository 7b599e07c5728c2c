"""Laws of stop texts: found across any borders, never shown in part."""

from hypothesis import given, strategies as st

from glimt.engine.chat.stop import StopFilter

letters = st.text("ab", max_size=12)
stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    stop_filter = StopFilter(stops)
    shown = "".join(map(stop_filter.push, pieces))
    return shown + ("" if stop_filter.matched else stop_filter.flush()), stop_filter.matched


@given(pieces=st.lists(letters, max_size=6), stops=stops)
def test_any_cutting(pieces: list[str], stops: list[str]):
    """However a text is cut into pieces, the outcome is that of the whole."""
    text = "".join(pieces)
    outcome = run(pieces, stops)
    assert outcome == run([text], stops) == run(list(text), stops)
    shown, matched = outcome
    assert text.startswith(shown + (matched or ""))
    assert not any(stop in shown for stop in stops)
    assert (matched is None) == (shown == text)


def test_nothing_leaks():
    """What may be the beginning of a stop text waits; it is shown once it cannot be one."""
    stop_filter = StopFilter(["</done>"])
    assert stop_filter.push("a</do") == "a"
    assert stop_filter.push("g>") == "</dog>"
    assert stop_filter.push("<") == ""
    assert stop_filter.flush() == "<"


def test_which_match_counts():
    """The match that ends first counts, of those that end together the longest."""
    assert run(["xabcd"], ["abcd", "bc"]) == ("xa", "bc")
    assert run(["xabc"], ["bc", "abc"]) == ("x", "abc")
