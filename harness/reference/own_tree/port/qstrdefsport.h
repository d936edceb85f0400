// The names that the firmware has in ROM: written by the build.
#include "tree_names.h"
