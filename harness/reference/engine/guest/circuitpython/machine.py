raise ImportError("no module named 'machine'")
