"""One module per language VM, behind the one interface that boards and the reference share."""
