"""How are rows written within a page? As a small table, whose cells are escaped unless they are links already."""

from collections.abc import Collection, Iterable, Sequence

from django.template.loader import render_to_string
from django.utils.safestring import SafeString


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Collection[str] = ()) -> SafeString:
    """Rows under their heads; the columns named in `numbers` are set to the right."""
    aligned = [[(cell, head in numbers) for head, cell in zip(heads, row, strict=True)] for row in rows]
    columns = [(head, head in numbers) for head in heads]
    return render_to_string("console/table.html", {"columns": columns, "rows": aligned})
