"""Random streams: Python's own generator, then numpy's generators and distributions.

numpy promises a stream for one build, environment and machine only. A distribution that computes logarithms or powers
says `libm`: by its construction, whether or not a small sample shows it. Seeds are whole numbers.
"""

import random
from functools import partial
from typing import Any, Callable, List, NamedTuple, Tuple

from . import Operator

SEED = 20240817
COUNT = 997
SMALL = 199
"""Samples where one costs some microseconds."""

LIBM = ("libm",)


def operators() -> List[Operator]:
    """Python's generator; numpy's bit generators, distributions and its legacy interface, if there is numpy."""
    found = [_operator(row, partial(row.draw, random)) for row in STANDARD]
    try:
        import numpy
    except ImportError:
        return found  # Python's streams do not need it
    found += [
        Operator("random.numpy.{}.{}".format(name, kind), "random", partial(_stream, numpy, name, draw))
        for name in BIT_GENERATORS
        for kind, draw in STREAMS
        if hasattr(numpy.random, name)
    ]
    later = () if hasattr(numpy.random.Generator, "permuted") else ("numpy.permuted",)  # numpy 1.20
    rows = [row for row in (*DISTRIBUTIONS, *LEGACY) if row.name not in later]
    return found + [_operator(row, partial(row.draw, numpy)) for row in rows]


class Row(NamedTuple):
    """One stream; `draw` takes Python's random module or numpy."""

    name: str
    draw: Callable[[Any], Any]
    through: Tuple[str, ...] = ()


def _operator(row: Row, function: Callable[[], Any]) -> Operator:
    return Operator("random." + row.name, "random", function, row.through)


def _many(name: str, *arguments: Any) -> Callable[[Any], Any]:
    """SMALL draws by the method `name` of a fresh generator of Python's."""

    def draw(module: Any) -> List[Any]:
        method = getattr(module.Random(SEED), name)
        return [method(*arguments) for _ in range(SMALL)]

    return draw


def _shuffled(module: Any) -> List[int]:
    items = list(range(COUNT))
    module.Random(SEED).shuffle(items)
    return items


STANDARD = (
    Row("python.random", _many("random")),
    Row("python.getrandbits", _many("getrandbits", 53)),
    Row("python.randrange", _many("randrange", 1000003)),
    Row("python.uniform", _many("uniform", -3.0, 5.0)),
    Row("python.triangular", _many("triangular", 0.0, 5.0, 2.0)),
    Row("python.shuffle", _shuffled),
    Row("python.sample", lambda module: module.Random(SEED).sample(range(100003), COUNT)),
    Row("python.choices", lambda module: module.Random(SEED).choices(range(50), weights=range(1, 51), k=COUNT)),
    Row("python.text_seed", lambda module: [module.Random("seed").random()]),
    Row("python.gauss", _many("gauss", 0.0, 1.0), LIBM),
    Row("python.normalvariate", _many("normalvariate", 0.0, 1.0), LIBM),
    Row("python.lognormvariate", _many("lognormvariate", 0.0, 0.5), LIBM),
    Row("python.expovariate", _many("expovariate", 1.5), LIBM),
    Row("python.gammavariate", _many("gammavariate", 2.5, 1.0), LIBM),
    Row("python.betavariate", _many("betavariate", 2.0, 3.0), LIBM),
    Row("python.vonmisesvariate", _many("vonmisesvariate", 1.0, 2.0), LIBM),
    Row("python.paretovariate", _many("paretovariate", 3.0), LIBM),
    Row("python.weibullvariate", _many("weibullvariate", 1.0, 1.5), LIBM),
)

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

STREAMS: Tuple[Tuple[str, Callable[[Any], Any]], ...] = (
    ("raw", lambda generator: generator.bit_generator.random_raw(COUNT)),
    ("random.f64", lambda generator: generator.random(COUNT)),
    ("random.f32", lambda generator: generator.random(COUNT, dtype="float32")),
    ("integers", lambda generator: generator.integers(0, 1000003, COUNT)),
)


def _stream(np: Any, name: str, draw: Callable[[Any], Any]) -> Any:
    return draw(np.random.Generator(getattr(np.random, name)(SEED)))


def _new(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """COUNT draws of the distribution `name` by a fresh PCG64."""
    return lambda np: getattr(np.random.Generator(np.random.PCG64(SEED)), name)(*arguments, size=COUNT, **options)


def _generator(np: Any) -> Any:
    return np.random.Generator(np.random.PCG64(SEED))


def _children(np: Any) -> Any:
    """Streams that are split, as data-loader workers do."""
    parts = np.random.SeedSequence(SEED).spawn(8)
    return np.concatenate([np.random.Generator(np.random.PCG64(part)).random(16) for part in parts])


def _multivariate(method: str) -> Callable[[Any], Any]:
    covariance = [[2.0, 0.5, 0.25], [0.5, 1.0, 0.125], [0.25, 0.125, 1.5]]
    return lambda np: _generator(np).multivariate_normal([0.0, 1.0, 2.0], covariance, 67, method=method)


def _weights(np: Any) -> Any:
    return np.arange(1, 65) / 2080.0


DISTRIBUTIONS = (
    Row("numpy.standard_normal.f64", _new("standard_normal"), LIBM),
    Row("numpy.standard_normal.f32", _new("standard_normal", dtype="float32"), LIBM),
    Row("numpy.normal", _new("normal", 1.0, 2.0), LIBM),
    Row("numpy.lognormal", _new("lognormal", 0.0, 0.5), LIBM),
    Row("numpy.standard_exponential.f64", _new("standard_exponential"), LIBM),
    Row("numpy.standard_exponential.f32", _new("standard_exponential", dtype="float32"), LIBM),
    Row("numpy.standard_gamma.f64", _new("standard_gamma", 2.5), LIBM),
    Row("numpy.standard_gamma.f32", _new("standard_gamma", 2.5, dtype="float32"), LIBM),
    Row("numpy.standard_gamma.below_one", _new("standard_gamma", 0.5), LIBM),
    Row("numpy.beta", _new("beta", 2.0, 3.0), LIBM),
    Row("numpy.beta.below_one", _new("beta", 0.5, 0.7), LIBM),
    Row("numpy.chisquare", _new("chisquare", 3.0), LIBM),
    Row("numpy.dirichlet", lambda np: _generator(np).dirichlet([1.5, 2.0, 3.5], SMALL), LIBM),
    Row("numpy.standard_t", _new("standard_t", 4.0), LIBM),
    Row("numpy.standard_cauchy", _new("standard_cauchy"), LIBM),
    Row("numpy.gumbel", _new("gumbel"), LIBM),
    Row("numpy.laplace", _new("laplace"), LIBM),
    Row("numpy.logistic", _new("logistic"), LIBM),
    Row("numpy.pareto", _new("pareto", 3.0), LIBM),
    Row("numpy.power", _new("power", 2.5), LIBM),
    Row("numpy.rayleigh", _new("rayleigh"), LIBM),
    Row("numpy.vonmises", _new("vonmises", 0.5, 2.0), LIBM),
    Row("numpy.wald", _new("wald", 1.0, 2.0), LIBM),
    Row("numpy.weibull", _new("weibull", 1.5), LIBM),
    Row("numpy.triangular", _new("triangular", 0.0, 2.0, 5.0)),
    Row("numpy.uniform", _new("uniform", -3.0, 5.0)),
    Row("numpy.poisson.small", _new("poisson", 3.0), LIBM),
    Row("numpy.poisson.large", _new("poisson", 150.0), LIBM),
    Row("numpy.binomial.small", _new("binomial", 12, 0.3), LIBM),
    Row("numpy.binomial.large", _new("binomial", 500, 0.4), LIBM),
    Row("numpy.negative_binomial", _new("negative_binomial", 5, 0.4), LIBM),
    Row("numpy.geometric", _new("geometric", 0.1), LIBM),
    Row("numpy.hypergeometric", _new("hypergeometric", 60, 40, 30), LIBM),
    Row("numpy.logseries", _new("logseries", 0.6), LIBM),
    Row("numpy.zipf", _new("zipf", 2.5), LIBM),
    Row("numpy.multinomial", lambda np: _generator(np).multinomial(50, [0.2, 0.3, 0.5], SMALL), LIBM),
    Row("numpy.integers.small", lambda np: _generator(np).integers(0, 256, COUNT, dtype="uint8")),
    Row("numpy.bytes", lambda np: np.frombuffer(_generator(np).bytes(COUNT), "uint8")),
    Row("numpy.permutation", lambda np: _generator(np).permutation(COUNT)),
    Row("numpy.permuted", lambda np: _generator(np).permuted(np.arange(900).reshape(30, 30), axis=1)),
    Row("numpy.choice", lambda np: _generator(np).choice(COUNT, 100, replace=False)),
    Row("numpy.choice.weighted", lambda np: _generator(np).choice(64, COUNT, p=_weights(np))),
    Row("numpy.multivariate_normal.svd", _multivariate("svd"), ("libm", "blas")),
    Row("numpy.multivariate_normal.cholesky", _multivariate("cholesky"), ("libm", "blas")),
    Row("numpy.seed_sequence", lambda np: np.random.SeedSequence(SEED).generate_state(64)),
    Row("numpy.spawned", _children),
)


def _old(name: str, *arguments: Any) -> Callable[[Any], Any]:
    """Draws by a method of a fresh RandomState, whose streams numpy has frozen."""
    return lambda np: getattr(np.random.RandomState(SEED), name)(*arguments)


LEGACY = (
    Row("numpy.legacy.rand", _old("rand", COUNT)),
    Row("numpy.legacy.randint", _old("randint", 0, 1000003, COUNT)),
    Row("numpy.legacy.randn", _old("randn", COUNT), LIBM),
    Row("numpy.legacy.exponential", _old("exponential", 1.0, COUNT), LIBM),
    Row("numpy.legacy.gamma", _old("gamma", 2.5, 1.0, COUNT), LIBM),
    Row("numpy.legacy.beta", _old("beta", 0.5, 0.7, COUNT), LIBM),
    Row("numpy.legacy.poisson", _old("poisson", 20.0, COUNT), LIBM),
    Row("numpy.legacy.binomial", _old("binomial", 500, 0.4, COUNT), LIBM),
    Row("numpy.legacy.permutation", _old("permutation", COUNT)),
    Row("numpy.legacy.choice", _old("choice", COUNT, 100, False)),
)
