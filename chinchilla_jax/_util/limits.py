"""How much may be asked for at once: counted before anything is expanded, and raised on purpose.

| limit          | default       | what it bounds                                                          |
|----------------|---------------|-------------------------------------------------------------------------|
| conditions     | 100,000       | of a study                                                              |
| specifications | 1,000,000     | of a multiverse                                                         |
| resamples      | 100,000,000   | of one data set                                                         |
| fits           | 1,000,000,000 | of one command: conditions x resamples, simulated data sets x resamples |
| weights        | 250,000,000   | of all resamples at once, where a question holds them: resamples x runs |
| chunks         | 250,000       | of a study, which are its files too                                     |
| numbers        | 100,000       | of one list in a spec, ranges included                                  |
| rows           | 10,000,000    | of a table of results                                                   |
| workers        | 4,096         | threads or processes of one command                                     |
| table memory   | 1,000,000,000 | bytes that reading a table may take                                     |
| table bytes    | 134,217,728   | of a file, and of what it expands to                                    |
| columns        | 10,000        | of a table that is read                                                 |
| files          | 20,000        | of a folder that is read as a table                                     |

Each is far above any use so far. The environment variable CHINCHILLA_JAX_MAX_NAME (MAX_FITS,
MAX_TABLE_MEMORY, ...) sets another one, as a whole number or in the form 1e12.
"""

from __future__ import annotations

import dataclasses
import math
import os

from chinchilla_jax._util.errors import ChinchillaError, UsageError, short


@dataclasses.dataclass(frozen=True)
class Limit:
    """The most of something.

    Attributes:
        name: what is counted, in the plural.
        default: the most of it, if no environment variable says otherwise.
    """

    name: str
    default: int

    @property
    def variable(self) -> str:
        """The environment variable that sets another limit."""
        return f"CHINCHILLA_JAX_MAX_{self.name.upper().replace(' ', '_')}"

    @property
    def most(self) -> int:
        """The limit that holds now.

        Raises:
            UsageError: the environment variable is no positive whole number.
        """
        text = os.environ.get(self.variable)
        if not text:
            return self.default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 1 <= number < math.inf:
            raise UsageError(f"{self.variable} is {short(text)}; give a whole number, such as 1e12")
        return int(number)

    def require(
        self,
        what: str,
        count: int,
        *,
        remedy: str = "ask for fewer",
        error: type[ChinchillaError] = UsageError,
    ) -> None:
        """Refuse a count above the limit.

        Args:
            what: whose count it is, such as "study.toml", to begin the message.
            count: how many.
            remedy: what to do instead of raising the limit.
            error: what to raise.

        Raises:
            ChinchillaError: `error`, with the count, the limit, and how to raise it.
        """
        if count > (most := self.most):
            raise error(
                f"{what}: {_count(count)} {self.name}, and the limit is {most:,}; {remedy}, or raise the "
                f"limit with {self.variable}"
            )


def _count(count: int) -> str:
    return f"{count:,}" if count < 10**18 else f"about {count:.1e}" if count < 10**300 else "more than 1e300"


CONDITIONS = Limit("conditions", 100_000)
SPECIFICATIONS = Limit("specifications", 10**6)
RESAMPLES = Limit("resamples", 10**8)
FITS = Limit("fits", 10**9)
WEIGHTS = Limit("weights", 250_000_000)
CHUNKS = Limit("chunks", 250_000)
NUMBERS = Limit("numbers", 100_000)
ROWS = Limit("rows", 10**7)
WORKERS = Limit("workers", 4096)
TABLE_MEMORY = Limit("table memory", 10**9)
TABLE_BYTES = Limit("table bytes", 128 * 2**20)
COLUMNS = Limit("columns", 10_000)
FILES = Limit("files", 20_000)
