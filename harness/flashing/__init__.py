"""Writing firmware: one module per way into a chip."""
