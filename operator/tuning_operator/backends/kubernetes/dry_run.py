"""Asking the API server about a trial's Job before there is one."""

from __future__ import annotations

from collections.abc import Mapping

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import AlreadyExists, ApiError, Forbidden, Invalid
from tuning_operator.backends.kubernetes.jobs import render_job
from tuning_operator.backends.kubernetes.resources import JOBS, Object
from tuning_operator.errors import BackendError


async def dry_run_job(
    client: Client, spec: TuningJobSpec, *, trial: Object, public_key: str, queue: Mapping[str, str]
) -> str | None:
    """Return what an API server has against the Job of a trial, or None if it would take it.

    Args:
        trial: A Trial as it would be proposed first; it need not exist (any uid will do).

    Raises:
        ApiError: The server could not be asked.
    """
    try:
        job = render_job(trial, spec=spec, public_key=public_key, queue=queue)
        await client.create(JOBS, job, dry_run=True)
    except AlreadyExists:
        return None
    except (Invalid, Forbidden) as error:
        return str(error)
    except ApiError:
        raise
    except BackendError as error:
        return str(error)
    return None
