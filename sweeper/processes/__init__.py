"""A trial's processes: slot, template, child, worker."""
