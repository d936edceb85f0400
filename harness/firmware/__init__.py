"""Firmware images: what a file is, whether it belongs on a chip, and the virtual boards' own images."""
