"""Access to the machine: paths, files, locks, disks, processes and W&B."""
