"""Escapes texts of plugins for each format, and formats numbers."""

import math
import re

MISSING = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    # after a line break, LaTeX takes these for arguments of the break
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": r"$-$",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "²": r"\textsuperscript{2}",
    "µ": r"\textmu{}",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def markdown(text: str) -> str:
    """Escapes for Markdown, tables included."""
    escaped = re.sub(r"(^[-+]|[\\`*_{}\[\]#!|~$])", r"\\\1", text)
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # GitHub turns bare addresses into links, even inside names
    return re.sub(r"(?<=\w)(://|@)", lambda sign: f"&#{ord(sign[0][0])};{sign[0][1:]}", escaped)


def latex(text: str) -> str:
    """Escapes for LaTeX."""
    return "".join(_LATEX.get(c, c) for c in text)


def slug(text: str) -> str:
    """A part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:48].strip("-") or "task"


def number(value: float, digits: int = 3) -> str:
    """A number with some significant digits."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 < magnitude < 6:
        return fixed(value, max(0, digits - 1 - magnitude))
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """A number with some decimals, thousands set apart; a negative number of decimals rounds to tens and so on."""
    if not math.isfinite(value):
        return number(value)
    text = f"{round(value, decimals) if decimals < 0 else value:,.{max(decimals, 0)}f}".replace("-", "−")
    # a negative number that rounds to 0
    return text.removeprefix("−") if re.fullmatch(r"−[0.]+", text) else text


def decimals_for(low: float, high: float) -> int:
    """The number of decimals for the bounds of an interval: two significant digits of its width."""
    width = high - low
    if not (math.isfinite(width) and width > 0):
        return 2
    return min(8, 1 - math.floor(math.log10(width)))


def with_interval(value: float, low: float, high: float) -> str:
    """A value with its interval, with the digits that the interval leaves: ``8,770 (8,680 to 8,860)``."""
    decimals = decimals_for(low, high)
    return f"{fixed(value, decimals)} ({fixed(low, decimals)} to {fixed(high, decimals)})"


def plus_minus(value: float, low: float, high: float) -> str:
    """A value with half the width of its interval: ``8,770 ± 90``, ``(1.2 ± 0.3)e−5``.

    It has the digits that the interval leaves. Without an interval, or where its width is below the digits, it is the
    value alone.
    """
    half = (high - low) / 2
    if not (math.isfinite(value) and math.isfinite(half) and half > 0):
        return number(value)
    magnitude = max(math.floor(math.log10(max(abs(value), half))), -300)
    if not -4 < magnitude < 6:
        scaled = plus_minus(*(each / 10.0**magnitude for each in (value, low, high)))
        scaled = f"({scaled})" if "±" in scaled else scaled
        return f"{scaled}e{magnitude}".replace("-", "−")
    decimals = min(decimals_for(low, high), 5 - magnitude)
    width = fixed(half, decimals)
    return f"{fixed(value, decimals)} ± {width}" if re.search("[1-9]", width) else number(value, 6)


def probability(p: float) -> str:
    """A p-value with two digits; below 0.0001 only that, and never 0."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def behind(low: float, high: float, scale: float = 1.0) -> str:
    """An interval of the difference to the best in words, negative for worse: ``0.2 to 0.5 worse``."""
    ends = [-high / scale, -low / scale]
    decimals = decimals_for(*ends)
    if not all(map(math.isfinite, ends)):
        return "unknown"
    less, most = (fixed(abs(end), decimals) for end in ends)
    if ends[0] > 0:
        return f"{less} to {most} worse"
    if ends[0] == 0:
        return f"up to {most} worse"
    if ends[1] > 0:
        return f"{most} worse to {less} better"
    return f"{most} to {less} better" if ends[1] < 0 else f"up to {less} better"


def power_of_ten(value: float) -> str:
    """A tick of a logarithmic axis, without the markup in which names could hide."""
    exponent = math.log10(value) if value > 0 else math.nan
    if math.isnan(exponent):
        return ""
    if -2 <= exponent <= 3:
        return f"{value:g}"
    mantissa, power = f"{value:.1e}".replace(".0", "").split("e")
    factor = "" if mantissa == "1" else f"{mantissa}·"
    return f"{factor}10{str(int(power)).translate(_SUPERSCRIPTS)}"


def listing(names: list[str], most: int = 6) -> str:
    """Names as a sentence holds them: ``a, b and c``."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return " and ".join([*[", ".join(names[:-1])] * (len(names) > 1), *names[-1:]])
