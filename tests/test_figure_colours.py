"""Colours of figures remain apart for readers with protanopia and deuteranopia, as simulated."""

import itertools

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from chinchilla_jax.plots import styles

# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15:1291), severity 1, for linear RGB.
SIMULATIONS = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LOOKS = [look.colour for look in styles._OTHER_LOOKS]


def lab(colour, simulation):
    """CIELAB of a colour as seen: differences of 2.3 can just be noticed (Mahy et al. 1994)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIMULATIONS[simulation]) @ linear, 0, 1)
    x, y, z = np.cbrt(_TO_XYZ @ seen / (_TO_XYZ @ np.ones(3)))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("simulation", SIMULATIONS)
def test_colours_of_categories_can_be_told_apart(simulation):
    apart = {
        (a, b): np.linalg.norm(lab(a, simulation) - lab(b, simulation))
        for a, b in itertools.combinations(LOOKS, 2)
    }
    assert min(apart.values()) > 10, min(apart, key=apart.get)
    assert min(np.linalg.norm(lab(each, simulation) - lab("white", simulation)) for each in LOOKS) > 25


@pytest.mark.parametrize("simulation", SIMULATIONS)
def test_the_scale_of_sizes_gets_lighter_all_the_way(simulation):
    lightness = [lab(colour, simulation)[0] for colour in colormaps["viridis"](np.linspace(0, 1, 30))]
    assert (np.diff(lightness) > 0).all()
