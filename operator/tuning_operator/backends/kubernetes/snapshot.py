"""What one operator knows at one moment, taken in the event loop in a few milliseconds and read elsewhere.

Objects in the caches are never changed, only replaced, so that holding on to them is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuning_operator.backends.kubernetes.reflector import Key
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.sightings import Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """A running trial as its study saw it last; values in the user's direction, NaN where there is none yet.

    Attributes:
        moved: When the trial last moved on its axis, or was first looked at, in seconds since the epoch.
        readable: Whether the last look gave something.
        revision: Newest control revision that the trial reported.
    """

    value: float = math.nan
    best: float = math.nan
    progress: float = 0.0
    learning_rate: float = math.nan
    revision: int = 0
    moved: float | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """One cache: how many objects, and seconds since the API server said anything about them (None: never yet)."""

    size: int
    age: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is exported about objects.

    Attributes:
        now: Seconds since the epoch.
        glimpses: Of running trials.
        sights: Pods of trials that have not ended.
        queues: Depth of each queue by its name.
        oldest: Seconds that the front of a queue has waited, by its name.
        caches: By resource.
    """

    now: float
    jobs: Sequence[Object]
    trials: Sequence[Object]
    glimpses: Mapping[Key, Glimpse] = field(default_factory=dict)
    sights: Mapping[Key, Sequence[Sight]] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    caches: Mapping[str, CacheState] = field(default_factory=dict)
