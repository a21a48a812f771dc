"""All control rules. A new rule is its file and its line here."""

from __future__ import annotations

from typing import Final

from tuning_operator.control.back_off import BackOff
from tuning_operator.control.base import ControlRule
from tuning_operator.control.cool_down import CoolDown

CONTROL_RULES: Final[tuple[type[ControlRule], ...]] = (
    BackOff,
    CoolDown,
)
