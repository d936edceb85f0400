"""The boards of a bench: real and virtual devices, made ready, brought back; their health; this machine."""
