"""Runs over many boards: run, nightly, qualification, conformance, bisection."""
