"""A variant that there is not is told with those that were meant, not with all hundred."""

import pytest

from harness.errors import UsageError
from harness.virtual.virtual_firmware import require_variant


@pytest.mark.parametrize(
    ("name", "near"),
    [("leak46", "leak64 (each soft reset leaves 64 bytes less heap)"), ("drop_10th_edge", "drops_10th")],
)
def test_the_nearest_are_named(name: str, near: str) -> None:
    with pytest.raises(UsageError) as told:
        require_variant(name)
    assert near in told.value.hint and "selfcheck --list" in told.value.hint
    assert len(told.value.hint) < 400


def test_a_name_like_no_other_is_told_where_they_stand() -> None:
    with pytest.raises(UsageError) as told:
        require_variant("xyzzy")
    assert told.value.hint.startswith("'harness selfcheck --list' shows them all")
