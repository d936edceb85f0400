"""The WebAssembly engine: real upstream MicroPython, executed with everything around it in our hands.

The reference VM (``harness.reference``) and the CPU of the virtual boards (``harness.virtual.cpu``)
both stand on it. What they share is therefore not evidence when they agree; see docs/comparison.md.
"""
