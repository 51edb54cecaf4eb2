"""Numbers, values and names in the words that every page uses. A number that was not measured is never printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...catalogue import catalogue
from ...comparison import Example, Size, Ulp
from ...report import Value


def component(name: str) -> str:
    """A component's plain name before its technical one: "matrix multiplication (BLAS/LAPACK)"."""
    plain, technical = _component(name)
    return f"{plain} ({technical})" if technical and technical != plain else plain


def plain(name: str) -> str:
    """A component's plain name alone."""
    return _component(name)[0]


def _component(name: str) -> tuple[str, str]:
    row = catalogue().components.get(name)
    return (row.plain, row.technical) if row else (name, "")  # of a newer report: its own name


def number(value: float) -> str:
    """An integer with thousands separated, or a float in at most four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def count(n: int, noun: str, plural: str = "") -> str:
    """ "1 fact", "1,204 facts"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def joined(items: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def listed(items: Iterable[str], most: int = 4) -> str:
    """ "a, b and c"; beyond `most` "a, b, c and 9 more"."""
    names = list(items)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return joined(names)


def below(all: bool) -> str:
    """What stands behind a sentence that counts what a short page leaves out."""
    return "" if all else "        (--all)"


def size_bytes(n: int) -> str:
    """Bytes as a person says them: "412 kB" (1 kB is 1,000 bytes)."""
    if n < 1000:
        return count(n, "byte")
    amount, unit = (n / 1e3, "kB") if n < 1e6 else (n / 1e6, "MB")
    return f"{amount:.3g} {unit}" if amount < 100 else f"{amount:.0f} {unit}"


def seconds(s: float) -> str:
    """ "0.5 s", "21 s"."""
    return f"{s:.1f} s" if s < 9.95 else f"{s:.0f} s"


def duration(s: float) -> str:
    """A time in the largest unit that says it in two or more: "3 days", "36 h", "90 min", "40 s"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if s >= 2 * length:
            return f"{s / length:,.0f} {unit}"
    return seconds(s)


def percent(fraction: float) -> str:
    """A fraction as a percentage in two digits; what is not quite all or nothing never reads 100% or 0%."""
    hundredths = 100 * fraction
    if fraction in (0, 1):
        return f"{hundredths:.0f}%"
    if hundredths < 0.001:
        return "under 0.001%"
    return f"{hundredths:.2g}%" if hundredths < 99.5 else "over 99%"


def elements(size: Size) -> str:
    """How many elements differ: "885 of 16,384 elements (5.4%)", or as a fraction where it is estimated."""
    if not size.elements:
        return size.reason or "size not measured"
    total = count(size.elements, "element")
    if size.differing is not None:
        share = f" ({percent(size.differing / size.elements)})" if size.elements >= 10 else ""
        return f"{size.differing:,} of {total}{share}"
    if size.fraction is None:
        return f"{total}, how many differ was not measured" + (f" ({size.reason})" if size.reason else "")
    if 0 < size.seen < size.elements:
        share = percent(size.fraction)
        about = "" if share.startswith(("over", "under")) else "about "
        return f"{about}{share} of {total} ({size.seen:,} looked at)"
    return f"{percent(size.fraction)} of {total}"


def ulp(measured: Ulp) -> str:
    """ "p50 1, p99 12, max 40 ULP (last-digit steps)"; "" where nothing was measured. Never the maximum alone."""
    parts = [f"{name} {value:,}" for name, value in (("p50", measured.p50), ("p99", measured.p99)) if value is not None]
    if parts and measured.max is not None and measured.max != measured.p99:
        parts.append(f"max {measured.max:,}")
    return f"{', '.join(parts)} ULP (last-digit steps)" if parts else ""


def size(measured: Size) -> str:
    """The whole size of a divergence in one sentence; what was not measured is said with its reason."""
    if measured.elements and measured.fraction is None and measured.reason:
        return f"not measured: {measured.reason}"
    parts = [elements(measured), ulp(measured.ulp)]
    if not parts[1] and measured.elements:
        norm = measured.ulp_norm
        reason = f": {measured.reason}" if measured.reason else ""
        parts[1] = f"ULP norm {norm:.3g} (from the sketch)" if norm is not None else f"ULP not measured{reason}"
    apart = (("NaN", measured.nan), ("infinite", measured.infinite), ("sign of zero", measured.signed_zero))
    special = [f"{n:,} {name}" for name, n in apart if n]
    if special:
        parts.append(f"apart from these: {', '.join(special)}")
    return "; ".join(part for part in parts if part)


def tolerance(measured: Size) -> str:
    """The smallest tolerance that would have passed, or ""."""
    if measured.smallest_rtol is None:
        return ""
    seen = " what was looked at" if measured.seen < measured.elements else ""
    return f"rtol {measured.smallest_rtol:.2g} would pass{seen}"


def example(shown: Example) -> str:
    """One element of both sides: "[0,17]  0x3f1c8a02 -> 0x3f1c8a03  (0.61148 -> 0.61149)"."""
    index = ",".join(str(i) for i in shown.index)
    numbers = f"   ({' -> '.join(_shortened(shown.values))})" if shown.values else ""
    return f"[{index}]  {' -> '.join(shown.bits)}{numbers}"


def _shortened(values: list[str]) -> list[str]:
    """Numbers as text in the fewest digits (six or more) that keep different ones different."""
    try:
        return told_apart([float(text) for text in values], 6)
    except ValueError:
        return values


def told_apart(numbers: Sequence[float | None], digits: int) -> list[str]:
    """Numbers in the fewest digits, from `digits` on, that keep unequal ones unequal; None is "not measured"."""
    for places in range(digits, 18):  # 17 tell all apart
        texts = ["not measured" if number is None else f"{number:.{places}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def value(shown: Value) -> str:
    """A fact's value in words; None is "(not set)": a variable that is unset, a package that is not there."""
    if shown is None:
        return "(not set)"
    if isinstance(shown, bool):
        return "yes" if shown else "no"
    if isinstance(shown, list):
        return ", ".join(value(item) for item in shown) or "(none)"
    if isinstance(shown, dict):
        return ", ".join(f"{key}={value(item)}" for key, item in shown.items()) or "(none)"
    return str(shown) if shown != "" else '""'
