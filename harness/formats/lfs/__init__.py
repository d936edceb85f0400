"""Images of NodeMCU's Lua Flash Store (Lua 5.1): built, read, and what they save."""
