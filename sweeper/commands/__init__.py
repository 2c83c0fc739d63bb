"""Commands, one module each.

`cli` imports the module of the called command, or all of them for `--help`, so a new
command is a new file here. The first line of a module's docstring is the help of its
command. A module defines `EXAMPLE`, `arguments(parser)` and `run(args)`, which returns
the exit code, or None for 0. Slow libraries such as Ray are imported inside functions.
"""
