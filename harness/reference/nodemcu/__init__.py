"""NodeMCU's Lua side, once: the virtual board runs it in the host's time, the reference in virtual time."""
