"""Stop texts in a stream: found across any borders, and never shown in part.

Knows text only; which stretches of an answer are searched is `glimt.engine.chat.reader`'s concern.
"""

from collections.abc import Sequence


class StopFilter:
    """Passes text on until a stop text is complete.

    Of several matches the one that ends first counts, so that the outcome does not depend on how
    the text was cut into pieces; of those that end together, the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._heads = {stop[:length] for stop in stops for length in range(1, len(stop))}
        self._reach = max((len(stop) for stop in stops), default=1) - 1
        self._held = ""
        self.matched: str | None = None
        """The stop text that was found."""

    def push(self, text: str) -> str:
        """What may be shown: everything before a match, less what may be the beginning of one."""
        if self.matched is not None:
            return ""
        text = self._held + text
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            _, at, self.matched = min(found)
            self._held = ""
            return text[:at]
        keep = next(
            (n for n in range(min(self._reach, len(text)), 0, -1) if text[-n:] in self._heads), 0
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text is over, or interrupted: what was held back is no stop text."""
        held, self._held = self._held, ""
        return held
