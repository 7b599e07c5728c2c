"""What can only be said when an answer has ended: that there is none, because it was all thought.

Knows the readers of an answer's choices. Warnings open with the path of the field that would help.
"""

from collections.abc import Sequence

from glimt.engine.chat.reader import ChoiceReader


def late_warnings(readers: Sequence[ChoiceReader], *, hidden: bool) -> tuple[str, ...]:
    """A word about choices that were cut off before their answer began."""
    spent = [r for r in readers if r.reason == "length" and r.num_thought_tokens == r.num_tokens]
    if not spent:
        return ()
    most = max(reader.num_tokens for reader in spent)
    which = f" in {len(spent)} of {len(readers)} choices" if len(readers) > 1 else ""
    what = "a thought that is hidden" if hidden else "thought alone"
    warning = (
        f"sampling.max_tokens was spent on {what}{which}: {most} tokens and no answer; "
        "raise it, set a budget for the thought, or switch thinking off"
    )
    return (warning,)
