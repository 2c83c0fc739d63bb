"""This machine: files, locks, disks and processes."""
