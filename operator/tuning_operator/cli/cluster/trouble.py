"""What an API server refused, in the words of the person who asked: what happened, and who can do what about it."""

from __future__ import annotations

import re
from typing import Final

from tuning_operator.api.metadata import GROUP
from tuning_operator.backends.kubernetes.errors import ApiError, Forbidden, ServerError, Unauthorized
from tuning_operator.cli.cluster.place import Place
from tuning_operator.errors import BackendError

_DENIED: Final = re.compile(r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"')
_READING: Final = frozenset({"get", "list", "watch"})


def explain(error: ApiError, place: Place) -> BackendError:
    """Return the error as it is told."""
    match error:
        case Forbidden():
            return BackendError(_forbidden(error, place))
        case Unauthorized():
            return BackendError(
                f"{place.cluster} does not know who you are ({_cause(error)}); renew the credentials of this context"
            )
        case ServerError() if not error.code:
            return BackendError(
                f"{place.cluster} cannot be reached: {_cause(error)}; is it up, and is this the context?"
            )
        case _:
            return BackendError(f"{place.cluster} refused: {error}")


def not_installed(place: Place) -> BackendError:
    """Return what to say where nobody knows what a TuningJob is."""
    return BackendError(
        f"{place.cluster} knows no TuningJobs ({GROUP}): the operator is not installed there. Install it with its "
        "chart: helm install tuning-operator helm/tuning-operator --namespace tuning-system --create-namespace"
    )


def _forbidden(error: ApiError, place: Place) -> str:
    found = _DENIED.search(str(error))
    if found is None:
        return f"{place} refused: {_cause(error)}"
    user, verb, resource = found["user"], found["verb"], found["resource"]
    everywhere = "at the cluster scope" in str(error)
    where = f"in all namespaces of {place.cluster}" if everywhere else f"in {place}"
    grant = _grant(user, verb, everywhere, place)
    return f"{user} may not {verb} {resource} {where}; who administers it can allow it: {grant}"


def _grant(user: str, verb: str, everywhere: bool, place: Place) -> str:
    """Return a command that gives the role that has this right."""
    role = "view" if verb in _READING else "edit"
    account = user.removeprefix("system:serviceaccount:")
    subject = f"--user={user}" if account == user else f"--serviceaccount={account}"
    kind, scope = ("clusterrolebinding", "") if everywhere else ("rolebinding", f" -n {place.namespace}")
    return f"kubectl create {kind} tuning-{role} --clusterrole={role} {subject}{scope}"


def _cause(error: ApiError) -> str:
    """Return the message without the request it was about."""
    return str(error).partition(": ")[2] or str(error)
