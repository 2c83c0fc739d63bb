"""The commands, one module each.

`cli` imports every module of this package, so a new command is a new file here. The
first line of a module's docstring is the help of its command. The module defines
`EXAMPLE`, `arguments(parser)` and `run(args) -> int`, which returns the exit code. Slow
libraries are imported inside functions, so that `--help` and `status` never wait for
torch or ray.
"""
