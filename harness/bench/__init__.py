"""One board made ready, one scenario on it, one run over all boards."""
