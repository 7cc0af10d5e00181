"""Tables that papers published as data, embedded as they are: which rows a name stands for.

A name is a file and a condition on its rows, because rows of one file may not follow one law: corpora,
routers and number formats are never pooled, and runs that repeat their data have a name of their own.
Everything else is as for a table of one's own: fewer rows by `where`, other counts and losses by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from chinchilla_jax.datasets.table_info import DatasetInfo

_FIVE = "the five-parameter law"
_COUNTS: Mapping[str, str] = MappingProxyType(
    {
        "params": "all parameters, input embedding and output head included (count)",
        "params_non_embedding": "neither of the two matrices (count)",
        "params_without_input_embedding": "with the output head only (count)",
    }
)
_RUN: Mapping[str, str] = MappingProxyType(
    {
        "tokens": "training tokens, repetitions included (count)",
        "loss": "validation loss at the end of the run (nats per token)",
    }
)


def _gadre() -> Iterator[DatasetInfo]:
    for corpus, rows, title in (
        ("c4", 34, "C4"),
        ("redpajama", 35, "RedPajama"),
        ("refinedweb", 35, "RefinedWeb"),
    ):
        yield DatasetInfo(
            name=f"gadre_{corpus}",
            file="gadre",
            where=f"corpus == '{corpus}'",
            title=f"Gadre et al.: over-trained models of 11M to 6.9B parameters, trained on {title}",
            n_rows=rows,
            source="Gadre et al. 2024, github.com/mlfoundations/scaling",
            arxiv=("2403.08540",),
            licence="MIT",
            determines=_FIVE,
            columns={**_COUNTS, **_RUN},
            notes=(
                "The loss is that on C4, whatever the training corpus; loss_paloma_redpajama and "
                "loss_paloma_refinedweb are those on the other two."
            ),
        )


def _quest() -> Iterator[DatasetInfo]:
    for bits in (2, 3, 4):
        yield DatasetInfo(
            name=f"quest_{bits}bit",
            file="quest",
            where=(
                f"weight_quantizer == 'HalfHadamardTrust' and weight_bits == {bits} and "
                f"activation_bits == {bits}"
            ),
            title=f"QuEST: models trained with weights and activations of {bits} bits",
            n_rows=8,
            source="Panferov et al. 2025, github.com/IST-DASLab/QuEST",
            arxiv=("2502.05003",),
            licence="MIT",
            determines="hardly a law: eight runs near two ratios",
            columns={**_COUNTS, **_RUN},
            notes="C4, one seed. Runs of different numbers of bits are not to be pooled.",
        )


def _routing() -> Iterator[DatasetInfo]:
    for name, router, rows in (("s_base", "S-Base", 87), ("rl_r", "RL-R", 54), ("hash", "Hash", 69)):
        yield DatasetInfo(
            name=f"routing_{name}",
            file="routing",
            where=f"router == '{router}'",
            title=f"Clark et al.: mixtures of experts with {router} routing, all on 130B tokens",
            n_rows=rows,
            source="Clark et al. 2022, github.com/google-deepmind/scaling_laws_for_routing",
            arxiv=("2202.01169",),
            licence="CC BY 4.0",
            determines="the law routed_experts; no law in tokens",
            columns={
                "params": "parameters without embeddings (count)",
                "params_active": "parameters that a token passes through (count)",
                "n_experts": "experts of a routed layer",
                **_RUN,
            },
            variables=("params_active", "n_experts"),
            notes="Changed: the last step of each run, columns renamed, tokens = step x 256 x 2048 added.",
        )


def _datablations() -> Iterator[DatasetInfo]:
    for name, rows, more, what, determines, variables in (
        ("datablations", 41, " and epochs <= 1", "one epoch", _FIVE, ()),
        ("datablations_repeated", 295, "", "one epoch or more", "laws of unique_tokens", ("unique_tokens",)),
    ):
        yield DatasetInfo(
            name=name,
            file="datablations",
            where=f"corpus == 'c4'{more}",
            title=f"Muennighoff et al.: models of 7M to 8.7B parameters trained on C4 for {what}",
            n_rows=rows,
            source="Muennighoff et al. 2023, github.com/huggingface/datablations",
            arxiv=("2305.16264",),
            licence="Apache-2.0",
            determines=determines,
            variables=variables,
            columns={
                "params": "all parameters, the tied embedding included (count)",
                "unique_tokens": "different training tokens (count)",
                "epochs": "tokens / unique_tokens",
                **_RUN,
            },
            notes=(
                "Some configurations have several seeds, which resampling should keep together. Losses go up "
                "to 11 where small data are repeated hundreds of times: a law without repetition does not "
                "apply there."
            ),
        )


PUBLISHED: tuple[DatasetInfo, ...] = (
    *_gadre(),
    DatasetInfo(
        name="gemstones",
        file="gemstones",
        title="Gemstones: 20 shapes of 48M to 2.0B parameters, cooled down at ten points each",
        n_rows=199,
        source="McLeish et al. 2025, github.com/mcleish7/gemstone-scaling-laws",
        arxiv=("2502.06857",),
        licence="MIT",
        determines=_FIVE,
        columns={**_COUNTS, **_RUN},
        notes=(
            "Rows of one shape share the trunk of its training: resample them together, by run, as scheme "
            "auto does. The loss depends on width and depth too."
        ),
    ),
    DatasetInfo(
        name="olmo_ladder",
        file="olmo_ladder",
        where="series == 'ladder'",
        title="OLMo ladder: models of 0.3B to 3.5B parameters, 0.5 to 10 times 20 tokens per parameter",
        n_rows=30,
        source="Bhagia et al. 2024, github.com/allenai/OLMo-ladder",
        arxiv=("2412.04403",),
        licence="Apache-2.0",
        determines=_FIVE,
        columns={**_COUNTS, "flops": "training compute as logged (FLOP)", **_RUN},
        notes=(
            "The loss is that on C4. The two target models (7B and 13B) are left out: they end on another "
            "data mix, so that their loss does not continue the ladder. Five runs were made twice."
        ),
    ),
    *_datablations(),
    *_routing(),
    *_quest(),
)
