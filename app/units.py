"""Numbers as people read them: three digits and a unit, or all digits and a noun."""


def number_of(count: int, noun: str) -> str:
    """Return `1 trial` or `2 trials`."""
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"


def count(number: float) -> str:
    """Return `40.6 M` for 40,551,040; a number below a thousand as it is, 0 as `-`."""
    return _scaled(number, 1000, ("", " k", " M", " G", " T", " P", " E"))


def size(num_bytes: float) -> str:
    """Return `1.61 MiB` for 1,684,992 bytes, `-` for 0."""
    return _scaled(
        num_bytes,
        1024,
        (" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"),
    )


def time_of(seconds: float) -> str:
    """Return `45 s`, `12.3 min` or `6.1 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    if number == 0:
        return "-"
    unit = 0
    # 999.5 would be written with four digits.
    while number >= 999.5 and unit < len(units) - 1:
        number = number / base
        unit = unit + 1
    if unit == 0 or number >= 99.95:
        digits = 0
    elif number >= 9.995:
        digits = 1
    else:
        digits = 2
    return f"{number:.{digits}f}{units[unit]}"
