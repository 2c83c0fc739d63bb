"""A sweep as people read it: tables, live display, Markdown, data frames, HTML."""
