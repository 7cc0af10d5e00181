"""What the name of a column says that the column holds: a quantity, in which unit, and how sure that is.

A name is a path of words: "throughput/total_tokens", "params.n_params", "Loss (bits)". One word is the core
and names a quantity. The other words are

| kind    | words                                      | effect                                              |
|---------|--------------------------------------------|-----------------------------------------------------|
| neutral | total, trained, seen, val, model, ...      | none: the name is plain                             |
| unit    | M, billions, EFLOP, PF-days, bits, ppl     | none: the name is plain, and the unit is that       |
| other   | per, second, dtype, steps, scale, aux, ... | the column holds something else                     |
| unknown | active, non_embedding, paloma, dclm, ...   | a variant of the quantity, which its owner may mean |

Names are compared without case and punctuation, so "Model Size", "model_size" and "MODEL-SIZE" are one name.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": (
            "params", "N", "Model Size", "parameters", "n_params", "num_params", "param", "n_parameters",
            "num_parameters", "param_count", "parameter_count", "params_count", "number of parameters",
            "model_params", "model_parameters", "total_params", "total_parameters",
        ),
        "tokens": (
            "tokens", "D", "Training Tokens", "train_tokens", "n_tokens", "num_tokens", "token_count",
            "number of tokens", "tokens_seen", "total_tokens", "num_training_tokens", "num_train_tokens",
        ),
        "flops": (
            "flops", "C", "Training FLOP", "flop", "training_flops", "train_flops", "train_flop", "compute",
            "budget", "training_compute", "train_compute", "compute_budget", "flop_budget", "flops_budget",
            "total_flops", "total_compute",
        ),
        "loss": (
            "loss", "L", "final_loss", "Training Loss", "train_loss", "val_loss", "validation_loss",
            "valid_loss", "test_loss", "eval_loss", "final_train_loss", "final_val_loss",
            "final_training_loss",
        ),
    }
)  # fmt: skip
"""Names that people give to the quantities; names made of the same words are understood too."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a column's name says.

    Attributes:
        quantity: "params", "tokens", "flops" or "loss".
        plain: whether nothing in the name speaks of a variant.
        unit: the unit that the name states, as `units.read_unit` knows it; "" for none.
        active: whether the name speaks of active parameters.
        split: "train" or "eval" if the name of a loss says which data it is of; otherwise "".
    """

    quantity: str
    plain: bool
    unit: str = ""
    active: bool = False
    split: str = ""


def normalise(name: str) -> str:
    """`name` without case and without anything that is not a letter or a digit."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CORES = {
    word: quantity
    for quantity, words in {
        "params": "param params parameter parameters",
        "tokens": "token tokens tok toks",
        "flops": "flop flops flos compute",
        "loss": "loss losses nll xent crossentropy ppl perplexity bpb bpc bpt bpw",
    }.items()
    for word in words.split()
}
# One capital letter, for which "model" says nothing of models: "D_model" is a width.
_LETTERS = {"N": "params", "D": "tokens", "C": "flops", "L": "loss"}
_SPLITS = {
    **dict.fromkeys(["train", "training", "trained", "pretrain", "pretraining"], "train"),
    **dict.fromkeys(["val", "valid", "validation", "eval", "evaluation", "test", "dev", "heldout"], "eval"),
}
_NEUTRAL = _words(
    "n num number nr count counts of the total overall cumulative final end last model all actual in"
)
_NEUTRAL_FOR = {
    "params": _words("trainable full"),
    "tokens": _words(
        "train training trained pretrain pretraining seen processed consumed input data throughput time lm"
    ),
    "flops": _words("train training trained pretrain pretraining budget used spent throughput"),
    "loss": frozenset(_SPLITS)
    | _words("lm ce cross entropy language modeling smooth smoothed avg average mean best"),
}
# Where a tool keeps a value says nothing about the value.
_SECTIONS = _words(
    "config summary metrics hparams hyperparameters args stats perf info meta results run "
    "global trainer system progress"
)
_ACTIVE = _words("active activated")
_COUNT_UNITS = {
    **dict.fromkeys(["k", "thousand", "thousands", "1e3"], "thousands"),
    **dict.fromkeys(["m", "mm", "mn", "mil", "million", "millions", "1e6"], "millions"),
    **dict.fromkeys(["b", "bn", "bil", "g", "billion", "billions", "1e9"], "billions"),
    **dict.fromkeys(["t", "tn", "trillion", "trillions", "1e12"], "trillions"),
}
_PREFIXES = {
    "k": "k", "kilo": "k", "m": "M", "mega": "M", "g": "G", "giga": "G", "t": "T", "tera": "T", "p": "P",
    "peta": "P", "e": "E", "exa": "E", "z": "Z", "zetta": "Z", "y": "Y", "yotta": "Y",
}  # fmt: skip
_FLOP_UNIT = re.compile(r"(kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy])fl?(?:op?s?)?|1e(?:\d+)")
_LOSS_UNITS = {
    **dict.fromkeys(["nat", "nats"], "nats"),
    **dict.fromkeys(["bit", "bits", "bpt", "bpw", "log2"], "bits"),
    "bpb": "bpb", "bpc": "bpc", "ppl": "perplexity", "perplexity": "perplexity",
}  # fmt: skip
_OTHER = _words(
    """
    accuracy acc score per sec secs second seconds s ms rate speed throughput time hours hour days day
    step steps iter iters iteration iterations epoch epochs batch batches microbatch mbs gbs bs dtype
    type kind scale scaler scaling ratio fraction frac percent pct norm grad gradient std stdev stderr
    se sem var variance ci low lower high upper lo hi diff gap delta aux auxiliary z balance balancing
    router kl reward weight weights coef coefficient lr decay warmup vocab vocabulary tokenizer seq
    sequence sequences length len context ctx window max min limit mfu hfu util utilization name id path
    hash dim width depth layer layers head heads expert experts dropout seed gpu gpus device devices
    node nodes chip chips forward example examples sample samples document documents vs log ln log10 exp
    sqrt inverse inv rank index pad padding eos bos mask masked position optimizer memory mem version
    order threshold spike spikes improvement change slope
    """
)
_PHRASES = (
    (re.compile(r"\bbits? per bytes?\b"), "bpb"),
    (re.compile(r"\bbits? per (?:char|character|chars|characters)\b"), "bpc"),
    (re.compile(r"\bbits? per (?:token|word)s?\b"), "bits"),
    (re.compile(r"\bnats? per (?:token|word)s?\b"), "nats"),
    (re.compile(r"\bloss per token\b"), "loss"),
    (re.compile(r"\bcross entropy\b"), "crossentropy"),
    (re.compile(r"\bheld out\b"), "heldout"),
    (re.compile(r"\b(kilo|mega|giga|tera|peta|exa|zetta|yotta) (flops?|flos)\b"), r"\1\2"),
)
_PER = re.compile(r"\b(nats?|bits?) ?/ ?(tokens?|bytes?|words?|chars?|characters?)\b", re.IGNORECASE)
_POWER = re.compile(r"(?:[x\u00d7*] ?)?(?<![0-9.])10(?:\^|\*\*)\{?([0-9]+)\}?")
# A petaflop per second for a day is an amount and not a speed: "PF-days", "petaflop/s-days", "pfs_days".
_DAYS = re.compile(r"(p|e|z|t|peta|exa|zetta|tera)f(?:lops?)?[\s/_.-]*s?[\s/_.-]*days?", re.IGNORECASE)
_LONGEST = 300  # letters of a name; beyond it is prose
QUANTITY_OF = {normalise(alias): quantity for quantity, aliases in ALIASES.items() for alias in aliases}


def quantity_of(name: str) -> str | None:
    """The quantity that a column of this name holds in any case, or None."""
    meaning = meaning_of(name)
    return meaning.quantity if meaning is not None and meaning.plain else None


def meanings(header: Sequence[str]) -> list[Meaning | None]:
    """What the names of a table's columns say.

    In a table by MLflow, which has columns "metrics.loss" and "params.lr", "params." says nothing.
    """
    mlflow = any(name.strip().casefold().startswith("metrics.") for name in header)
    return [meaning_of(re.sub(r"(?i)^\s*params\.", "", name) if mlflow else name) for name in header]


@functools.lru_cache(maxsize=2**15)
def meaning_of(name: str) -> Meaning | None:
    """What a column's name says; None if it names no quantity, or something else than a quantity of a run."""
    if len(name) > _LONGEST:
        return None
    name = _POWER.sub(r" 1e\1 ", _PER.sub(r"\1 per \2", name))
    parts = [part for part in re.split(r"[/.]", name.strip()) if part.strip()]
    while len(parts) > 1 and normalise(parts[0]) in _SECTIONS:
        parts.pop(0)
    bare = "/".join(parts)
    known = QUANTITY_OF.get(normalise(bare))
    if known:
        return Meaning(known, True, split=_split_of(known, _split_words(bare)))
    if days := _DAYS.search(name):
        unit = f"{days[1][0].upper()}F-days"
        rest = normalise(name[: days.start()] + name[days.end() :])
        plain = rest == "" or QUANTITY_OF.get(rest) == "flops" or rest in ("in", "trainingcompute")
        return Meaning("flops", plain, unit)
    return _of_words(parts)


def count_unit(name: str) -> str:
    """The unit that the name of a column of counts states, as in "unique tokens (B)"; "" for none."""
    return next((_COUNT_UNITS[word] for word in _folded(name) if word in _COUNT_UNITS), "")


def without_count_unit(name: str) -> str:
    """`normalise` without the words of `count_unit`: "uniquetokens" for "Unique tokens (B)"."""
    return "".join(normalise(word) for word in _folded(name) if word not in _COUNT_UNITS) or normalise(name)


def _folded(name: str) -> list[str]:
    return [word.casefold() for word in _split_words(_POWER.sub(r" 1e\1 ", name))]


def names_something_else(name: str) -> bool:
    """Whether a word of the name says that the column holds something else, such as a rate or a type."""
    return any(word.casefold() in _OTHER for part in re.split(r"[/.]", name) for word in _split_words(part))


def _of_words(parts: list[str]) -> Meaning | None:
    words = [word for part in parts for word in _split_words(part)]
    # Elsewhere than in the last part these say where a value is kept.
    last = _split_words(parts[-1]) if parts else []
    folded = [word.casefold() for word in words]
    units = [_FLOP_UNIT.fullmatch(word) for word in folded]
    cores = {_CORES[word] for word in folded if word in _CORES}
    cores |= {
        "flops" for word, unit in zip(folded, units, strict=True) if unit and word[0] != "1" and "fl" in word
    }
    if not cores and (sized := QUANTITY_OF.get("".join(word for word in folded if word not in _COUNT_UNITS))):
        cores = {sized}  # "Model Size (M)"
        folded = [word for word in folded if word in _COUNT_UNITS]
        words = folded
    by_letter = not cores
    if by_letter:
        cores = {_LETTERS[word] for word in words if word in _LETTERS}
        if not cores and "ce" in folded:
            cores = {"loss"}
    if len(cores) != 1:
        return None
    (quantity,) = cores
    unit, variant, active = "", False, False
    for word, original in zip(folded, words, strict=True):
        found = _unit_word(word, quantity)
        if found:
            unit = unit or found
        elif _CORES.get(word) == quantity or _LETTERS.get(original) == quantity:
            continue
        elif (by_letter and word == "model") or (
            word in _OTHER and (word not in ("throughput", "time") or original in last)
        ):
            return None
        elif word in _ACTIVE:
            variant = active = True
        elif not (word in _NEUTRAL or word in _NEUTRAL_FOR[quantity]):
            variant = True
    return Meaning(quantity, not variant, unit, active, _split_of(quantity, folded))


def _unit_word(word: str, quantity: str) -> str:
    if quantity == "loss":
        return _LOSS_UNITS.get(word, "")
    if quantity != "flops":
        return _COUNT_UNITS.get(word, "")
    match = _FLOP_UNIT.fullmatch(word)
    if match is None:
        return ""
    return word if match[1] is None else f"{_PREFIXES[match[1]]}FLOP"


def _split_of(quantity: str, words: Sequence[str]) -> str:
    found = (
        {_SPLITS[word.casefold()] for word in words if word.casefold() in _SPLITS}
        if quantity == "loss"
        else set()
    )
    return found.pop() if len(found) == 1 else "eval" if found else ""


def _split_words(part: str) -> list[str]:
    """The words of a name: divided by punctuation, and where a capital letter follows a small one."""
    text = re.sub(r"\b([KMBGT])(?=(?:tokens?|toks?|params?|parameters?)\b)", r"\1 ", part)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = " ".join(re.split(r"[\W_]+", text)).strip()
    folded = text.casefold()
    for pattern, word in _PHRASES:
        if pattern.search(folded):
            text = folded = pattern.sub(word, folded)
    return text.split()
