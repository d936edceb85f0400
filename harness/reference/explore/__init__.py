"""The interleaving explorer: a program with its interrupt at every point at which it can strike."""
