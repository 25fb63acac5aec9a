"""Numbers as people read them: three digits and a unit, or all of them and what is counted."""


def number_of(count: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def count(number: float) -> str:
    """`40.6 M` for 40,551,040; what is below a thousand as it is, nothing as `-`."""
    return _scaled(number, 1000, ("", " k", " M", " G", " T", " P", " E"))


def size(num_bytes: float) -> str:
    """`1.61 MiB` for 1,684,992 bytes, nothing as `-`."""
    return _scaled(num_bytes, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"))


def time_of(seconds: float) -> str:
    """`45 s`, `12.3 min`, `6.1 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    if number == 0:
        return "-"
    unit = 0
    while number >= 999.5 and unit < len(units) - 1:  # 999.5 would be written with four digits
        number = number / base
        unit = unit + 1
    digits = 0 if unit == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f}{units[unit]}"
