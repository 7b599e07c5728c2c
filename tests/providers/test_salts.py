"""Salts: whose prefixes are found by whom."""

import itertools

from hypothesis import given, strategies as st

from glimt.core.request import Request
from glimt.providers.salts import cache_salt

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def salt(tenant: str, named: str | None, *, shared: bool) -> str:
    return cache_salt(Request(model="m", tenant=tenant, cache_salt=named), shared=shared)


@given(st.lists(st.tuples(NAMES, st.none() | NAMES), min_size=2, max_size=5, unique=True))
def test_apart(whose: list[tuple[str, str | None]]):
    """Two that differ in tenant or salt never meet, whatever the names are made of."""
    salts = [salt(tenant, named, shared=False) for tenant, named in whose]
    assert len(set(salts)) == len(whose)


def test_nobody_and_nothing():
    """Where there are no tenants, and no salt is named, all share one cache."""
    assert salt("", None, shared=False) == salt("", None, shared=True) == ""


def test_shared():
    """With a shared cache tenants meet where they name no salt, and nowhere else."""
    assert salt("a", None, shared=True) == salt("b", None, shared=True) == ""
    named = [salt(tenant, "s", shared=True) for tenant in ("", "a", "b")]
    assert len({"", *named}) == 4


def test_stable():
    """The same names give the same salt, which shows neither of them."""
    first, second = (salt("tenant", "secret", shared=False) for _ in range(2))
    assert first == second
    assert not any(name in first for name in ("tenant", "secret"))
    pairs = itertools.product(("", "t"), (None, "s"))
    assert all(len(salt(*pair, shared=False)) in (0, 32) for pair in pairs)
