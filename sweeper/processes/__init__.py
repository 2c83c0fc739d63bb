"""The processes of a trial: its slot, the zygote that forks it, its worker."""
