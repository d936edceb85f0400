"""Qualification: one board with one firmware, by a plan declared beforehand, with a certificate."""
