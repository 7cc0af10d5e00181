"""Tables whose runs cannot tell the terms of the law apart, and tables whose runs can; one for each seed.

The law is drawn as well: exponents of 0.2 to 0.5, terms of 0.2 to 1.5 at the middle of the runs, and noise
of 0.1 to 1%, multiplied onto the losses.
"""

import numpy as np

import chinchilla_jax as cj


def with_losses(rng, params, tokens):
    """The runs with losses of a law drawn by `rng`."""
    return simulated(rng, params, tokens, *law_and_noise(rng, params, tokens))


def law_and_noise(rng, params, tokens):
    """A law, and the standard deviation of the logarithm of a loss."""
    alpha, beta = rng.uniform(0.2, 0.5, 2)
    terms = np.exp(rng.uniform(np.log(0.2), np.log(1.5), 2))
    middle = [np.exp(np.mean(np.log(counts))) for counts in (params, tokens)]
    law = cj.ScalingLaw(
        E=rng.uniform(1.4, 2.2), A=terms[0] * middle[0] ** alpha, B=terms[1] * middle[1] ** beta, alpha=alpha,
        beta=beta,
    )  # fmt: skip
    return law, np.exp(rng.uniform(np.log(0.001), np.log(0.01)))


def simulated(rng, params, tokens, law, noise):
    """Runs of that law with that noise."""
    loss = law.loss(params, tokens) * np.exp(noise * rng.standard_normal(len(params)))
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


def _sizes(rng):
    low = 10 ** rng.uniform(6.5, 8)
    return np.geomspace(low, low * 10 ** rng.uniform(1.5, 3.5), int(rng.integers(8, 41)))


def one_ratio(seed, jitter=0.0):
    """All runs at one number of tokens per parameter, but for a jitter of this standard deviation."""
    rng = np.random.default_rng(seed)
    params = _sizes(rng)
    return with_losses(rng, params, 10 ** rng.uniform(0.3, 2.5) * params * _jitter(rng, len(params), jitter))


def power_frontier(seed, jitter=0.0):
    """Tokens that go with a power of parameters."""
    rng = np.random.default_rng(seed)
    params, power = _sizes(rng), rng.uniform(0.6, 1.4)
    ratio = 10 ** rng.uniform(0.5, 2)
    tokens = ratio * params[0] * (params / params[0]) ** power * _jitter(rng, len(params), jitter)
    return with_losses(rng, params, tokens)


def one_budget(seed):
    """One IsoFLOP curve."""
    rng = np.random.default_rng(seed)
    params = _sizes(rng)
    return with_losses(rng, params, 20 * params.mean() ** 2 / params)


def one_run_apart(seed):
    """One ratio, and a single run at another."""
    rng = np.random.default_rng(seed)
    params = _sizes(rng)
    tokens = 20 * params
    tokens[rng.integers(len(params))] *= rng.choice([0.1, 5.0, 20.0])
    return with_losses(rng, params, tokens)


def isoflop(seed):
    """Three to six budgets, each with four to nine sizes within a factor of 4 to 30 of one another."""
    rng = np.random.default_rng(seed)
    budgets = 10 ** rng.uniform(17, 19) * 10 ** (rng.uniform(0.3, 0.8) * np.arange(rng.integers(3, 7)))
    span = 10 ** rng.uniform(0.6, 1.5)
    each = int(rng.integers(4, 10))
    middle = np.sqrt(budgets / 6 / 20)[:, None]
    params = (middle * np.geomspace(1 / np.sqrt(span), np.sqrt(span), each)).ravel()
    return with_losses(rng, params, np.repeat(budgets, each) / 6 / params)


def grid(seed):
    """Three to six sizes by four to six token counts."""
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(7, 8) * 10 ** (rng.uniform(0.2, 0.6) * np.arange(rng.integers(3, 7)))
    counts = 10 ** rng.uniform(8.5, 10) * 10 ** (rng.uniform(0.2, 0.6) * np.arange(rng.integers(4, 7)))
    params, tokens = (field.ravel() for field in np.meshgrid(sizes, counts))
    return with_losses(rng, params, tokens)


def _jitter(rng, n, size):
    return np.exp(size * rng.standard_normal(n))
