"""All dashboards."""

from __future__ import annotations

from typing import Final

from helm.dashboards.fleet import FLEET
from helm.dashboards.job import JOB
from helm.dashboards.operator import OPERATOR
from helm.dashboards.panel import Dashboard
from helm.dashboards.trial import TRIAL

PAGES: Final[tuple[Dashboard, ...]] = (FLEET, JOB, TRIAL, OPERATOR)
