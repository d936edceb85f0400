"""Loads the plugin for the suites; nothing else."""

pytest_plugins = ["harness.plugin"]
