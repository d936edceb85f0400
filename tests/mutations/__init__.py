"""Seeded mistakes in the code that virtual boards and references share, and what catches each."""
