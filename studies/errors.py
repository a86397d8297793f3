"""The one exception of this package: what went wrong, where, and what to do, in one sentence for the user."""

from __future__ import annotations


class StudyError(Exception):
    """A study or a request to it is not as it must be; the message is one sentence for the user."""
