"""The wire to a board: ports, deadlines, sessions, transcripts, crash texts."""
