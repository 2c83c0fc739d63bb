"""A sweep as people see it: tables, live lines, data frames."""
