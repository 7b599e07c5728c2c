"""Proofs of thoughts, on their way out to a client and back to whoever gave them.

A place that signs or seals its thoughts wants to see the proof again, and refuses anybody else's.
So a proof carries its place's name while it is away; it goes back there alone. What is in it is the
place's business.
"""

from typing import Final

import msgspec

from glimt.core.events import Event, ReasoningDelta
from glimt.core.parts import ReasoningPart

_AFTER_NAME: Final = ":"
"""No slug has one."""


def marked(event: Event, place: str) -> Event:
    """An event as it leaves: a proof has the name of the place that gave it."""
    if isinstance(event, ReasoningDelta) and event.signature:
        return msgspec.structs.replace(event, signature=f"{place}{_AFTER_NAME}{event.signature}")
    return event


def proof_of(thought: ReasoningPart, place: str) -> str | None:
    """What this place gave, as it gave it; `None` where somebody else did, or nobody.

    Formats differ in what they call it: a signature of what can be read, or a sealed form.
    """
    for given in (thought.signature, thought.encrypted):
        name, found, proof = (given or "").partition(_AFTER_NAME)
        if found and name == place:
            return proof
    return None
