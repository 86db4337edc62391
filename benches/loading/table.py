"""Prints tables in Markdown."""

GB = 1e9


def table(header: list[str], rows: list[list[str]], names: int = 1) -> str:
    """The first `names` columns are text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    rule = ["-" * width if i < names else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = []
    for row in (header, rule, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:names], widths)]
        cells += [cell.rjust(width) for cell, width in zip(row[names:], widths[names:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gb(count: float | None) -> str:
    """Bytes in GB of 10^9."""
    if count is None:
        return "-"
    return f"{count / GB:.2f}" if count >= 0.1 * GB else f"{count / GB:.3f}"
