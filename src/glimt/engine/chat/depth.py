"""How deep a JSON value is nested, and how much text is in it, found without recursion.

What renders, reads or compiles a value walks it recursively, so what clients send is bounded first.
Knows nothing of what the values mean.
"""

from typing import Any, Final, cast

from glimt.core.errors import InvalidRequest

MAX_DEPTH: Final = 100
"""Lists and objects within each other; far from where the interpreter gives up."""


def weigh(value: object) -> tuple[int, int]:
    """Its depth, at most `MAX_DEPTH + 1`, and the characters of all texts, keys included.

    What lies deeper than that is not counted.
    """
    level: list[object] = [value]
    num_characters = 0
    for depth in range(MAX_DEPTH + 2):
        below: list[object] = []
        nested = False
        for item in level:
            if isinstance(item, str):
                num_characters += len(item)
            elif isinstance(item, dict):
                nested = True
                below.extend(cast("dict[Any, Any]", item).keys())
                below.extend(cast("dict[Any, Any]", item).values())
            elif isinstance(item, list | tuple):
                nested = True
                below.extend(cast("list[Any]", item))
        if not nested:
            return depth, num_characters
        level = below
    return MAX_DEPTH + 1, num_characters


def refuse_deep(value: object, path: str) -> None:
    """Refuse a value that is nested too deeply; `path` names it.

    Raises:
        InvalidRequest: It is.
    """
    if weigh(value)[0] > MAX_DEPTH:
        raise InvalidRequest(
            f"{path} is nested too deeply; at most {MAX_DEPTH} lists and objects may lie within "
            "each other",
            param=path,
        )
