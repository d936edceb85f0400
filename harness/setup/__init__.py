"""Setting up a bench: what is plugged in, what is wrong with the machine, whether the wires are right."""
