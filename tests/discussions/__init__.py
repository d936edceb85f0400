"""Which test or scenario holds which point of the discussions that the systems under test come from."""
