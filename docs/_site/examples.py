"""Docstrings as Griffe reads them: a section `Example:` holds prompts, as `Examples:` does."""

import griffe


class Examples(griffe.Extension):
    """Names the section as Griffe does, which then shows code as code."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rename the section of one object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
