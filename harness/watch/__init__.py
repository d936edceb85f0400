"""The console of one board, with times."""
