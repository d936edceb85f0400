"""The project's own figures: ``tox run -e benchmark``. docs/benchmarks.md says what each one is."""
