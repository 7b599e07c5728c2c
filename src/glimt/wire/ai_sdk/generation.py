"""The three generations of the protocol, and what differs between them.

Each is the call of a language model of the AI SDK, sent as JSON: its specification's version 2 (AI
SDK 5, at /v1/ai), 3 (AI SDK 6, /v3/ai) and 4 (AI SDK 7, /v4/ai). The model's name and whether the
answer streams are in headers.
"""

from typing import Final

import msgspec

MODEL_HEADER: Final = "ai-language-model-id"
STREAM_HEADER: Final = "ai-language-model-streaming"
VERSION_HEADER: Final = "ai-language-model-specification-version"


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One of them.

    Attributes:
        version: Of the specification, as the header and `/config` have it.
        path: Where its endpoints are.
        nested: Usage and finish reason are objects; version 2 has them flat.
        tagged_files: A file's content is an object that says what it is, not a bare address.
    """

    version: int
    path: str
    nested: bool = True
    tagged_files: bool = False


V2: Final = Generation(version=2, path="/v1/ai", nested=False)
V3: Final = Generation(version=3, path="/v3/ai")
V4: Final = Generation(version=4, path="/v4/ai", tagged_files=True)
GENERATIONS: Final = (V2, V3, V4)
