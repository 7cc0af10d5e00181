"""Decisions: what to train, how sure, inference included.

Every answer rests on a `LawSample`, the laws of a bootstrap (or of a study directory, or one law that is
given), and comes with a median and an interval over them.

    from chinchilla_jax import decide
    sample = decide.LawSample.from_bootstrap(cj.bootstrap(runs))
    decide.plan(sample, flops=1e24).table

Names are loaded when they are first used: the closed forms need numpy only, JAX comes with what is solved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax.lazy import lazy_names

if TYPE_CHECKING:
    from chinchilla_jax.decide.allocation import Plan as Plan
    from chinchilla_jax.decide.allocation import plan as plan
    from chinchilla_jax.decide.costs import FLOP_COSTS as FLOP_COSTS
    from chinchilla_jax.decide.costs import Costs as Costs
    from chinchilla_jax.decide.costs import Demand as Demand
    from chinchilla_jax.decide.costs import Machine as Machine
    from chinchilla_jax.decide.flops import FlopCount as FlopCount
    from chinchilla_jax.decide.flops import attention_crossover as attention_crossover
    from chinchilla_jax.decide.flops import flop_count as flop_count
    from chinchilla_jax.decide.flops import flop_ratio as flop_ratio
    from chinchilla_jax.decide.flops import flop_ratio_table as flop_ratio_table
    from chinchilla_jax.decide.hardware import Device as Device
    from chinchilla_jax.decide.hardware import devices as devices
    from chinchilla_jax.decide.hardware import find_device as find_device
    from chinchilla_jax.decide.hardware import hardware_flops as hardware_flops
    from chinchilla_jax.decide.inference import SARDANA_2023 as SARDANA_2023
    from chinchilla_jax.decide.inference import InferencePlan as InferencePlan
    from chinchilla_jax.decide.inference import RatioMap as RatioMap
    from chinchilla_jax.decide.inference import ServedOptimum as ServedOptimum
    from chinchilla_jax.decide.inference import inference_plan as inference_plan
    from chinchilla_jax.decide.inference import ratio_map as ratio_map
    from chinchilla_jax.decide.inference import served_optimum as served_optimum
    from chinchilla_jax.decide.models import VERDICTS as VERDICTS
    from chinchilla_jax.decide.models import known_models as known_models
    from chinchilla_jax.decide.models import place_models as place_models
    from chinchilla_jax.decide.models import read_models as read_models
    from chinchilla_jax.decide.parabolas import CHINCHILLA_BUDGETS as CHINCHILLA_BUDGETS
    from chinchilla_jax.decide.parabolas import IsoflopResult as IsoflopResult
    from chinchilla_jax.decide.parabolas import compare_methods as compare_methods
    from chinchilla_jax.decide.parabolas import isoflop as isoflop
    from chinchilla_jax.decide.progressive import ProgressiveScaling as ProgressiveScaling
    from chinchilla_jax.decide.progressive import ProgressiveSettings as ProgressiveSettings
    from chinchilla_jax.decide.progressive import RunStore as RunStore
    from chinchilla_jax.decide.references import KAPLAN_2020 as KAPLAN_2020
    from chinchilla_jax.decide.references import REFERENCES as REFERENCES
    from chinchilla_jax.decide.references import KaplanLaw as KaplanLaw
    from chinchilla_jax.decide.sample import LawSample as LawSample
    from chinchilla_jax.decide.simulation import Scenario as Scenario
    from chinchilla_jax.decide.simulation import SimulationResult as SimulationResult
    from chinchilla_jax.decide.simulation import compare as compare
    from chinchilla_jax.decide.simulation import exponential_noise as exponential_noise
    from chinchilla_jax.decide.simulation import normal_noise as normal_noise
    from chinchilla_jax.decide.simulation import simulate as simulate

_HOME = {
    "CHINCHILLA_BUDGETS": "parabolas",
    "Costs": "costs",
    "Demand": "costs",
    "Device": "hardware",
    "FLOP_COSTS": "costs",
    "FlopCount": "flops",
    "InferencePlan": "inference",
    "IsoflopResult": "parabolas",
    "KAPLAN_2020": "references",
    "KaplanLaw": "references",
    "LawSample": "sample",
    "Machine": "costs",
    "Plan": "allocation",
    "ProgressiveScaling": "progressive",
    "ProgressiveSettings": "progressive",
    "REFERENCES": "references",
    "RatioMap": "inference",
    "RunStore": "progressive",
    "SARDANA_2023": "inference",
    "Scenario": "simulation",
    "ServedOptimum": "inference",
    "SimulationResult": "simulation",
    "VERDICTS": "models",
    "attention_crossover": "flops",
    "compare": "simulation",
    "compare_methods": "parabolas",
    "devices": "hardware",
    "exponential_noise": "simulation",
    "find_device": "hardware",
    "flop_count": "flops",
    "flop_ratio": "flops",
    "flop_ratio_table": "flops",
    "hardware_flops": "hardware",
    "inference_plan": "inference",
    "isoflop": "parabolas",
    "known_models": "models",
    "normal_noise": "simulation",
    "place_models": "models",
    "plan": "allocation",
    "ratio_map": "inference",
    "read_models": "models",
    "served_optimum": "inference",
    "simulate": "simulation",
}

__all__ = sorted(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME, __all__)
