"""The queue of moments, by itself."""

from __future__ import annotations

from harness.reference.timeline import Timeline


def test_moments_that_fall_together_keep_their_order() -> None:
    timeline, done = Timeline(), list[int]()
    for number in range(5):
        timeline.at(100, lambda number=number: done.append(number))  # type: ignore[misc]
    timeline.at(50, lambda: done.append(-1))
    assert timeline.run_due(99) == 1
    assert timeline.run_due(100) == 5
    assert done == [-1, 0, 1, 2, 3, 4]


def test_what_is_called_off_does_not_happen() -> None:
    timeline, done = Timeline(), list[str]()
    first = timeline.at(10, lambda: done.append("first"))
    timeline.at(20, lambda: done.append("second"))
    timeline.cancel(first)
    assert timeline.next_due == 20
    timeline.run_due(30)
    assert done == ["second"]


def test_what_an_action_puts_in_for_the_same_moment_is_done_as_well() -> None:
    timeline, done = Timeline(), list[str]()

    def outer() -> None:
        timeline.at(10, lambda: done.append("inner"))
        done.append("outer")

    timeline.at(10, outer)
    assert timeline.run_due(10) == 2
    assert done == ["outer", "inner"]
