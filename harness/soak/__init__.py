"""Does the harness survive a bad bench? Each injected fault on the virtual boards must end well or as *error*."""
