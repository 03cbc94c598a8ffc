"""Many configs across a cluster, and the command line: the only part that imports Ray."""
