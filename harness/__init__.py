"""Hardware-in-the-loop qualification of language-VM firmware against a host reference VM."""

__version__ = "0.1.0"
