"""Private interfaces of the trial's libraries, one module a library."""
