"""Write the text of each page of a PDF; a script, run in a process of its own so that a hostile PDF harms only that.

    python -I pdf_text.py MAX_PAGES SECONDS < report.pdf

One line of JSON per record, each written as soon as it is known, so that a page which hangs costs only itself and what
follows: {"total": pages}, then {"text": text or null} for each page; or {"failure": "encrypted", "damaged", "memory"}.
"""

import io
import json
import logging
import sys

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

MEMORY = 1_500_000_000  # bytes of address space
PAGE_CHARACTERS = 30_000


def main() -> None:
    """Read the PDF on standard input."""
    max_pages, seconds = int(sys.argv[1]), int(sys.argv[2])
    _limit(seconds)
    logging.disable()  # pypdf warns of every oddity
    try:
        reader = pypdf.PdfReader(io.BytesIO(sys.stdin.buffer.read()))
        if reader.is_encrypted and not reader.decrypt(""):
            return _write("failure", "encrypted")
        total = len(reader.pages)
    except (DependencyError, FileNotDecryptedError, WrongPasswordError):
        return _write("failure", "encrypted")
    except MemoryError:
        return _write("failure", "memory")
    except Exception:  # noqa: BLE001  pypdf lets any exception out of a damaged file
        return _write("failure", "damaged")
    _write("total", total)
    for number in range(min(total, max_pages)):
        _write("text", _page_text(reader, number))
    return None


def _page_text(reader: pypdf.PdfReader, number: int) -> str | None:
    try:
        return reader.pages[number].extract_text()[:PAGE_CHARACTERS]
    except Exception:  # noqa: BLE001  as above
        return None


def _write(key: str, value: str | int | None) -> None:
    print(json.dumps({key: value}), flush=True)


def _limit(seconds: int) -> None:
    """Bound memory and processor time and forbid writing files, where the system can (POSIX)."""
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main()
