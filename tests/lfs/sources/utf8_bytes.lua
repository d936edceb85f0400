return #"äöü €", "ä"
