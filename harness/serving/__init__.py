"""The lab's page: what the store and the bench say, to read in a browser."""
