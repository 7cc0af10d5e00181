"""The sections of a study's page about its own runs, made while the other conditions are computed."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import ChinchillaError

if TYPE_CHECKING:
    from chinchilla_jax.report.content import Section
    from chinchilla_jax.study import Study


class OwnSectionsEarly:
    """They are made in one thread and taken in another; of a page without figures."""

    def __init__(self) -> None:
        """Not begun."""
        self._made: Future[tuple[list[Any], list[Section]]] = Future()

    def make(self, study: Study) -> None:
        """Make them, from a study of the first condition alone; errors are kept for `of`."""
        # Not loaded before a study's first fit.
        from chinchilla_jax.report.facts import Facts
        from chinchilla_jax.report.study_page import own_sections
        from chinchilla_jax.study.own_fits import own_inputs

        if not self._made.set_running_or_notify_cancel():
            return
        try:
            subject = Facts(study).subject
            if isinstance(subject, ChinchillaError):
                raise subject
            self._made.set_result((own_inputs(study), own_sections(subject)))
        except BaseException as error:
            self._made.set_exception(error)

    def of(self, study: Study) -> list[Section] | None:
        """Those of the finished study; None if they are to be made now."""
        from chinchilla_jax.study.own_fits import own_inputs

        if self._made.cancel():
            return None
        try:
            inputs, sections = self._made.result()
        except Exception:  # whatever it is, the page meets it again
            return None
        return sections if inputs == own_inputs(study) else None
