"""Find a known statement in text that came out of a PDF, and tell it from the like statement of another edition.

Compared are letters and digits alone, so that line breaks, hyphens, lost spaces, ligatures and punctuation do not
matter. One that differs in more than single letters ("stable" for "unstable", "do" for "do not") is another statement.
"""

import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

PREFACE = 200  # letters that may stand before the statement: points, a label, a verdict
# Ligatures that a PDF may lose, and articles that a student may; "improvethemodel" less "improvemodel" can be "eth".
LOST = {"fi", "fl", "ff", "ffi", "ffl", "the", "het", "eth", "an", "na"}
MAX_DIFFERENCES = 4


@dataclass(frozen=True)
class Match:
    """Where a statement stands in a text: text[start:end]."""

    start: int
    end: int


def find_statement(statement: str, text: str) -> Match | None:
    """Where `statement` stands near the beginning of `text`; None where it does not, or stands changed.

    Time is bounded by the length of `statement`, whatever `text` is.
    """
    wanted, _ = letters(statement)
    found, places = letters(text[: 3 * len(statement) + 2 * PREFACE])
    if not wanted:
        return None
    start = found.find(wanted, 0, PREFACE + len(wanted))
    if start >= 0:
        return Match(places[start], places[start + len(wanted) - 1] + 1)
    return _find_nearly(wanted, found, places)


def _find_nearly(wanted: str, found: str, places: list[int]) -> Match | None:
    found = found[: len(wanted) + len(wanted) // 4 + PREFACE]
    steps = SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes()
    while steps and steps[0][0] == "insert":  # what stands before the statement
        steps = steps[1:]
    while steps and steps[-1][0] == "insert":  # what stands after it
        steps = steps[:-1]
    differences = [(wanted[a:b], found[c:d]) for kind, a, b, c, d in steps if kind != "equal"]
    if not steps or len(differences) > MAX_DIFFERENCES or not all(_negligible(*pair) for pair in differences):
        return None
    return Match(places[steps[0][3]], places[steps[-1][4] - 1] + 1)


def _negligible(wanted: str, found: str) -> bool:
    if (wanted in LOST and not found) or (found in LOST and not wanted):
        return True
    return len(wanted) <= 1 and len(found) <= 1 and not any(letter.isdigit() for letter in wanted + found)


def letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of `text`, case folded and compatibility forms decomposed, with the place of each.

    The multiplication sign counts as x, and the ending n't as not ("don't" as "do not").
    """
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if character in "'’" and text[place - 1 : place + 2].lower() in ("n't", "n’t"):
            plain = "o"
        else:
            plain = "x" if character == "×" else unicodedata.normalize("NFKC", character).casefold()
        for letter in plain:
            if letter.isalnum():
                folded.append(letter)
                places.append(place)
    return "".join(folded), places
