"""How a scenario is called, in the store and on the screen, by what pytest knows of it."""

from __future__ import annotations

import pytest


def board_of(item: pytest.Item) -> str:
    """The id of the board that ``item`` is for; empty for a test that is no scenario."""
    parameters = getattr(item, "callspec", None)
    return str(parameters.params.get("board_id", "")) if parameters else ""


def name_of(item: pytest.Item) -> str:
    """The scenario's name, with its parameters but without the board."""
    name = getattr(item, "originalname", item.name).removeprefix("test_")
    parameters = getattr(item, "callspec", None)
    others = [str(value) for key, value in parameters.params.items() if key != "board_id"] if parameters else []
    return f"{name}[{','.join(others)}]" if others else str(name)


def place_of(item: pytest.Item) -> tuple[str, str, str]:
    """Board, suite and name."""
    return board_of(item), item.path.parent.name, name_of(item)
