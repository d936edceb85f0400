local a = 1; local b = 2; do a = 3; end return a + b;
