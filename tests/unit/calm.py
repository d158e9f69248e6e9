"""Settings of property tests: the same examples on every run, and no clock."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
