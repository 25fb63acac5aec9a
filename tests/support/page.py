"""Reads an HTML page as a browser would, and more strictly."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """Collects tags, attributes, text and the classes around each tag, and holds every tag to being
    closed in order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.classes: list[str] = []
        self.classes_around: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.classes_around.append((tag, " ".join(self.classes)))
        if tag not in VOID:
            self.open.append(tag)
            self.classes.append(dict(attributes).get("class") or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.classes.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def assert_nothing_is_cut(self) -> None:
        """Assert that what may be wide scrolls, and that no text is left out for want of room."""
        for tag, classes in self.classes_around:
            assert tag != "table" or "scroll" in classes.split()
        style = "".join(self.words)
        assert "text-overflow" not in style
        assert not re.search(r"[^-]width: *\d{3,}px", style)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))
