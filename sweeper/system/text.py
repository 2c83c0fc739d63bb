"""Readable text for numbers, durations and parameter values; pure functions."""

import math

MIB = 1024**2
GIB = 1024**3
MARKS = "\\|*_`["  # special characters of Markdown


def short(value: float) -> str:
    """Return a number with four significant digits; "-" for NaN.

    >>> short(0.912345), short(float("nan"))
    ('0.9123', '-')
    """
    return "-" if math.isnan(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return a duration in its one or two largest units.

    >>> duration(0), duration(0.05), duration(7.31), duration(190)
    ('0 s', '50 ms', '7.3 s', '3 min 10 s')
    >>> duration(8000), duration(200_000)
    ('2 h 13 min', '2 d 7 h')
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms" if seconds else "0 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def plain(text: object) -> str:
    """Return a text on one line, without control characters.

    >>> plain("red" + chr(27) + "[31m" + chr(10) + "end")
    'red [31m end'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def value_cell(value: object) -> str:
    """Return a parameter's value for a table, a float with six significant digits.

    A text that looks like a value of another type is quoted.

    >>> value_cell(0.000123456789), value_cell("resnet18"), value_cell(True)
    ('0.000123457', 'resnet18', 'true')
    >>> value_cell(2), value_cell("2"), value_cell(2.0), value_cell("null")
    ('2', "'2'", '2.0', "'null'")
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = f"{value:.6g}"
        return f"{text}.0" if text.lstrip("-").isdecimal() else text
    text = plain(value)
    return f"'{text}'" if isinstance(value, str) and _is_like_another(text) else text


def _is_like_another(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() in ("null", "none", "true", "false")
    return True


def markdown_cell(text: str) -> str:
    r"""Return a text as one cell of a Markdown table, without markup.

    >>> print(markdown_cell("a|<b>"))
    a\|&lt;b>
    """
    for mark in MARKS:
        text = text.replace(mark, f"\\{mark}")
    return plain(text.replace("&", "&amp;").replace("<", "&lt;"))
