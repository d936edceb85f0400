"""Limits, comparison, calibration, outcomes: how a figure is judged."""
