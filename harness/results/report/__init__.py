"""A run shown: terminal, JSON, JUnit, HTML."""
