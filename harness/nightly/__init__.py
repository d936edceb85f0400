"""The unattended run of a whole bench."""
