"""The harness put to the test: seeded defects, injected faults."""
