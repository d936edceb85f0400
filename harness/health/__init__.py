"""What a board has been through, and what is done to have it back."""
