"""The commands, one module each: its help, an example, its arguments, what it does.

`cli` finds the modules of this package by itself; a new command is a new file here.
A module has a docstring whose first line is the help, `EXAMPLE`,
`arguments(parser)` and `run(args) -> int`, the exit code. Each imports at its top
only what is light, so that `--help` and `status` never wait for torch or ray.
"""
