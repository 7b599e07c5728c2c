"""How a model is spelled, and what follows its name.

Vendors write the same model with another author, in another case, with a dash for the dot of a
version, with a variant behind a colon. Knows spellings, no models.
"""

import re
from typing import Final

VARIANTS: Final = frozenset(
    {"nitro", "floor", "exacto", "free", "online", "thinking", "extended", "batch"}
)
"""OpenRouter's: https://openrouter.ai/docs/guides/routing/model-variants."""
_GLM: Final = re.compile(r"glm(-|$)")
_DASHED_VERSION: Final = re.compile(r"glm-(\d)-(\d)(?!\d)")


def plain_name(name: str) -> str:
    """A model's name without author, variant and vendors' spelling of it.

    "zai-org/GLM-4.7-Flash", "z-ai/glm-4.7-flash:free" and "glm-4-7-flash" are all "glm-4.7-flash".
    """
    plain = name.casefold().rpartition("/")[2].partition(":")[0].removeprefix("zai-")
    return _DASHED_VERSION.sub(r"glm-\1.\2", plain)


def is_glm(name: str) -> bool:
    """Whether it is the name of a GLM model, known or not."""
    return _GLM.match(plain_name(name)) is not None


def split_variant(name: str) -> tuple[str, str]:
    """A name and its variant; one that is not OpenRouter's stays part of the name."""
    base, _, variant = name.rpartition(":")
    return (base, variant.casefold()) if base and variant.casefold() in VARIANTS else (name, "")
