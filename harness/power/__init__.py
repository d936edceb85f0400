"""Power and reset control of boards."""
