"""Tables: Markdown for a terminal, HTML for a notebook, whatever stands in a cell."""

from __future__ import annotations

from emolib.tables import Table


def test_a_table_is_markdown_as_text_and_html_in_a_notebook() -> None:
    table = Table(["text", "label"], [["a <b> & c", "joy"], ["one | two", "fear"]])
    assert repr(table).splitlines()[0] == "| text       | label |"
    assert r"one \| two" in repr(table)
    page = table._repr_html_()
    assert "a &lt;b&gt; &amp; c" in page
    assert page.count("<tr>") == 3
