"""Hostile YAML as a tree of nodes, never constructed into Python objects.

Keys keep their spelling (1.10 is not 1.1), every node keeps its line, tags have no effect, and aliases and deep nesting
are refused before they expand.
"""

import yaml

from grader.evidence.bounded import cleaned

DEPTH = 6
NODES = 2_000  # keys, values, lists and mappings together
ADVICE = "put a text that holds a colon, quotes, * or [ below '|' or between double quotes"


class YamlError(Exception):
    """Text that is not YAML that can be read: why, and the line (from 1) where that is known."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line


def compose(text: str, skipped: int = 0) -> yaml.Node | None:
    """The root node of the one document in `text`; None for an empty one.

    `skipped` lines of the file stand before `text`; they are added to the line of an error, not to those of nodes.

    Raises:
        YamlError: not YAML, several documents, an alias, more than `DEPTH` levels or `NODES` nodes.
    """
    try:
        composer = _Composer(text)
        try:
            return composer.get_single_node()
        finally:
            composer.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise YamlError(reason, None if mark is None else mark.line + 1 + skipped) from None


def scalar_text(node: yaml.Node) -> str | None:
    """The text of a scalar, as it is spelt, "" for a null; None for a mapping or a list."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    return "" if node.tag == "tag:yaml.org,2002:null" else cleaned(str(node.value)).strip()


def kind(node: yaml.Node) -> str:
    """What a node is, in words."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a text"


class _Composer(yaml.SafeLoader):
    """Composes nodes, refusing aliases, deep nesting and great numbers."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases (*) are not read")
        if self.depth == DEPTH:
            self._refuse("it is nested too deeply")
        if self.nodes == NODES:
            self._refuse("it holds too many entries")
        self.nodes += 1
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _refuse(self, reason: str) -> None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.composer.ComposerError(None, None, reason, mark)
