"""Bars as SVG, in the colours of whoever looks: light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROW: Final = 26
_LABEL: Final = 190
_BAR: Final = 420
_TOP: Final = 40
_STYLE: Final = """
text { font: 13px sans-serif; fill: #1f2328 } .title { font-weight: bold }
rect.back { fill: #ffffff } rect.bar { fill: #3b73b9 } rect.ours { fill: #b9553b }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } rect.back { fill: #0d1117 } rect.bar { fill: #6ea8fe }
rect.ours { fill: #ff9d7a }
}
"""


def bars(title: str, unit: str, values: Mapping[str, float], ours: str | None = None) -> str:
    """A bar for each value, in the order given; those whose name begins so in another colour."""
    most = max(values.values(), default=0.0) or 1.0
    height = _TOP + _ROW * len(values) + 10
    width = _LABEL + _BAR + 110
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}"/>',
        f'<text class="title" x="10" y="24">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(values.items()):
        y = _TOP + _ROW * place
        long = max(1.0, _BAR * value / most)
        kind = "ours" if ours and name.startswith(ours) else "bar"
        lines += [
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{long:.1f}" height="{_ROW - 8}"/>',
            f'<text x="{_LABEL + long + 6:.1f}" y="{y + 14}">{value:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
