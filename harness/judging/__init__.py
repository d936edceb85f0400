"""Judging: limits, calibration, comparison, outcomes, the second look."""
