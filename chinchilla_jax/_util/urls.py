"""URLs: what is one, and how it is shown."""

from __future__ import annotations

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PRIVATE = re.compile(r"(?<=://)[^/@\s]*@|[?#].*", re.DOTALL)


def is_url(text: str) -> bool:
    """Whether a text is a URL, of any scheme."""
    return bool(_URL.match(text))


def without_secrets(text: str) -> str:
    """A text, such as a URL, without passwords, and without a query, which may hold a signature."""
    return _PRIVATE.sub("", text)
