"""The commands, one module each.

`cli` imports the module of the command that is called, and all of them for `--help`, so
a new command is a new file here. The first line of a module's docstring is the help of
its command. The module defines `EXAMPLE`, `arguments(parser)` and `run(args)`, which
returns the exit code, or None for 0. Ray and the other slow libraries of `run` and
`doctor` are imported inside functions.
"""
