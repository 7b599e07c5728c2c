"""Identifiers are unique, readable and of one length."""

from glimt.core.ids import new_id


def test_ids_carry_their_prefix_and_do_not_repeat() -> None:
    """Ten thousand ids differ, and each is its prefix and twenty letters or digits."""
    ids = {new_id("chatcmpl-") for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == len("chatcmpl-") + 20 and one[9:].isalnum() for one in ids)
