"""NOR flash as the reference has it, and modules on it."""
