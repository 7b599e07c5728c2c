"""The error tree in the module's head is the tree that the classes form."""

import re

from glimt.core import errors
from glimt.core.errors import GlimtError, InvalidRequest, RateLimited


def drawn_tree() -> dict[str, tuple[str, int | None]]:
    """Read the drawing: class name → (parent's name, status, where one is drawn)."""
    parents: list[str] = []
    tree: dict[str, tuple[str, int | None]] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ]*)(?:[├└]── )?([A-Z]\w+)(?: +(\d{3}))?", line)
        if not found:
            continue
        is_child = "──" in line
        depth = len(found.group(1)) // 4 + 1 if is_child else 0
        del parents[depth:]
        status = int(found.group(3)) if found.group(3) else None
        tree[found.group(2)] = (parents[-1] if parents else "Exception", status)
        parents.append(found.group(2))
    return tree


def test_the_drawing_is_true() -> None:
    """Every class is drawn under its base, with its status, and nothing else is drawn."""
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, GlimtError)
    }
    tree = drawn_tree()
    assert set(tree) == set(classes)
    for name, (parent, status) in tree.items():
        assert classes[name].__base__.__name__ == parent, name
        if status is not None:
            assert classes[name].status == status, name


def test_an_error_tells_what_a_caller_needs() -> None:
    """Message, parameter, code and retry time travel with the error."""
    error = InvalidRequest("temperature must be 0 to 2: 3", param="temperature")
    assert (str(error), error.param, error.code) == (
        "temperature must be 0 to 2: 3",
        "temperature",
        "invalid_value",
    )
    assert not error.retryable
    limited = RateLimited("slow down", retry_after_s=2.5)
    assert limited.retryable
    assert limited.retry_after_s == 2.5
