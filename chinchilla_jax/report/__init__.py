"""Running a study with its figures and its page: report.html, made from the study's tables."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
