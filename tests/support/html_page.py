"""An HTML page as a reader finds it: text, tables, links and pictures."""

from html.parser import HTMLParser
from pathlib import Path

_EMPTY = {"meta", "img", "br"}


class HtmlPage(HTMLParser):
    """A parsed page.

    Attributes:
        text: all text, white space collapsed.
        visible, folded: the parts of it that are visible at once, or after unfolding.
        rows: cells of each table row, as texts.
        links: targets of `href`.
        sources: targets of `src`.
        pictures: descriptions of the images.
    """

    def __init__(self, source: str | Path):
        super().__init__()
        self.links, self.sources, self.pictures, self.rows = [], [], [], []
        self._open, self._texts, self._visible, self._folded = [], [], [], []
        if isinstance(source, Path):
            source = source.read_text(encoding="utf-8")
        assert "<script" not in source and "@import" not in source
        self.feed(source)
        assert not self._open, f"never closed: {self._open}"
        self.text, self.visible, self.folded = (
            " ".join(" ".join(texts).split())
            for texts in (self._texts, self._visible, self._folded)
        )
        self.rows = [[" ".join(c.split()) for c in row] for row in self.rows]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes["href"]] if "href" in attributes else []
        self.sources += [attributes["src"]] if "src" in attributes else []
        if tag == "img":
            self.pictures.append(attributes["alt"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "small":
            self.handle_data(" ")
        if tag not in _EMPTY:
            self._open.append((tag, "open" in attributes))

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if "style" in tags:
            return
        self._texts.append(data)
        # The summary of details is seen, unless these are folded away themselves.
        folds = self._open.count(("details", False)) - ("summary" in tags)
        (self._folded if folds > 0 else self._visible).append(data)
        if "td" in tags or "th" in tags:
            self.rows[-1][-1] += data
