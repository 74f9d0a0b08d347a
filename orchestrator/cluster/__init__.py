"""Where a study runs: what a machine or a cluster has, Ray's session on it, cluster files and jobs."""
