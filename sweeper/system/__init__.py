"""This machine: paths, files, locks, disks, processes."""
