"""Firmware that is not ours as emulated boards: upstream MicroPython, built here, in QEMU; docs/emulated-board.md."""
