"""The bench: what boards there are, how they are told apart, and who is using them now."""
