"""The verdict that an answer to a true/false problem opens with."""

import re

# What may stand before the verdict itself: "Answer:", "The statement is", "True or False?", "A:".
LABEL = re.compile(
    r"""(?:(?:(?:my|the)\s)?(?:answer|ans|solution|verdict|judge?ment)\b(?:\sis\b)?
      | a(?=\s?[:.])
      | (?:it|(?:this|the)(?:\sstatement)?)\sis\b
      | true\s?(?:/|or)\s?false\b
      | t\s?/\s?f\b)""",
    re.IGNORECASE | re.VERBOSE,
)
MARKS = re.compile(r"[\W_]*")
# A bold word may come out of a PDF cut by a line break or a hyphen ("Fal-\nse") or glued to the next ("FalseBecause").
WORD = re.compile(
    r"(?P<true>t-?\s?r-?\s?u-?\s?e|t|correct|right|yes|y)|(?P<false>f-?\s?a-?\s?l-?\s?s-?\s?e|f|incorrect|wrong|no|n)",
    re.IGNORECASE,
)
AFTER = re.compile(r"[\s.,;:!)\]}*_\"'”’–—-]*")
LOOK = 200  # characters in which the verdict must begin


def leading_verdict(text: str) -> tuple[bool | None, str]:
    """The verdict that is the first word of `text`, and what follows it; (None, text) where the first word is none.

    `true`, `false`, `t`, `f` count as they stand; `yes`, `no`, `y`, `n`, `correct`, `right`, `incorrect`, `wrong` only
    where punctuation or the end of the line follows, since they also begin ordinary sentences.
    """
    place = _skip(MARKS, text, 0)
    for _ in range(2):
        label = LABEL.match(text, place)
        if label is None or label.end() > LOOK:
            break
        place = _skip(MARKS, text, label.end())
    word = WORD.match(text, place)
    if word is None or place > LOOK or not _stands_alone(word, text):
        return None, text
    return word["true"] is not None, text[_skip(AFTER, text, word.end()) :]


def _skip(marks: re.Pattern[str], text: str, place: int) -> int:
    found = marks.match(text, place)
    return found.end() if found else place


def _stands_alone(word: re.Match[str], text: str) -> bool:
    following = text[word.end() : word.end() + 20]
    letters = re.sub(r"[\s-]", "", word[0]).lower()
    if letters in ("true", "false"):  # not "truely", not "true or false", not "it is true that"
        return not following[:1].islower() and re.match(r"\s?/|\s(?:or|that)\b", following) is None
    if letters in ("t", "f"):
        return re.match(r"[\w/-]", following) is None
    return re.match(r"\s*$|[.,;:!)\]*]|\s*\n", following) is not None
