"""What changed on a board, since when, and whether it is more than noise."""
