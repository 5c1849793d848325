"""Models: how an install's credit, or what was earned after it, is shared among the campaigns on the way to it.

Shares are whole numbers, millionths of an install or minor units of money, and their sum is the whole: what is left
over by rounding goes to those who lost most by it (the method of the largest remainder).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from attribution.decision import WHOLE, Decision, Step
from attribution.rules import DAY_MS

ORGANIC = ""  # in place of a campaign's key
HALF_LIFE = 7 * DAY_MS
_FINE = 1 << 40


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """A total shared by weights, none of them negative and not all 0."""
    if total < 0:
        return [-share for share in apportioned(-total, weights)]
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in order[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _first(path: Sequence[Step]) -> list[int]:
    return [1] + [0] * (len(path) - 1)


def _last(path: Sequence[Step]) -> list[int]:
    return [0] * (len(path) - 1) + [1]


def _linear(path: Sequence[Step]) -> list[int]:
    return [1] * len(path)


def _position(path: Sequence[Step]) -> list[int]:
    """40 % to the first, 40 % to the last, 20 % among those between; of two, half each."""
    between = len(path) - 2
    return [1] * len(path) if between < 1 else [2 * between, *[1] * between, 2 * between]


def _decay(path: Sequence[Step]) -> list[int]:
    """Half the weight for every week before the last: that the install came later is the same for all of them."""
    newest = max(step.at for step in path)
    return [max(1, round(2.0 ** ((step.at - newest) / HALF_LIFE) * _FINE)) for step in path]


_WEIGHTS: Mapping[str, Callable[[Sequence[Step]], list[int]]] = {
    "first": _first,
    "last": _last,
    "linear": _linear,
    "position": _position,
    "decay": _decay,
}
NAMES = ("decided", *_WEIGHTS)


def shared(path: Sequence[Step], model: str, total: int) -> Counter[str]:
    """A total among the campaigns of a path that is not empty."""
    shares: Counter[str] = Counter()
    for step, share in zip(path, apportioned(total, _WEIGHTS[model](path)), strict=True):
        shares[step.campaign_key] += share
    return shares


def credits_of(decision: Decision, total: int = WHOLE) -> dict[str, dict[str, int]]:
    """By model, what each campaign gets of a total, or ORGANIC all of it; nothing for what is no new install."""
    if decision.outcome not in ("attributed", "organic"):
        return {}
    if decision.winner is None:
        return {model: {ORGANIC: total} for model in NAMES}
    found = {model: {key: n for key, n in shared(decision.path, model, total).items() if n} for model in _WEIGHTS}
    return {"decided": {decision.campaign_key: total}} | found
