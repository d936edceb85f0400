"""Do the suites catch what they are for? Each seeded defect on a virtual board, and the healthy firmware beside it."""
