"""A conversation with a board had once more, without the board: the same calls, the same bytes, the same times."""
