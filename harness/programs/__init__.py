"""Board-side programs, and the records in which they report."""
