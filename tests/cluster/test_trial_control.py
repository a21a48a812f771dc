"""The control channel to a real pod: signed for this very Trial, taken by it, and by no other."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest
from tests.cluster.bed import STUDY, Bed

from trial_protocol.control import ControlMessage, sign_control
from tuning_operator.backends.kubernetes.jobs import identity
from tuning_operator.backends.kubernetes.labels import PORT
from tuning_operator.backends.kubernetes.resources import name_of

TRIAL = f"{STUDY}-0000"


async def test_a_running_pod_obeys_its_operator_and_nobody_elses_message(here: Bed) -> None:
    live = {"name": "lr", "type": "Float", "min": 0.1, "max": 1.0, "live": True}
    await here.apply("pause=0.2", parameters=[live], control=[{"rule": "CoolDown", "fraction": 0.5}])
    pod = await here.runs(step=10)
    key = (here.cluster.instance.folder / "key.pem").read_text()
    url = f"http://{pod['status']['podIP']}:{PORT}/control"

    def put(to: str) -> str:
        message = ControlMessage(trial=to, revision=7, learning_rate_scale=0.1)
        token = sign_control(message, private_key=key, now=time.time(), lifetime=60.0)
        request = urllib.request.Request(url, data=token.encode(), method="PUT")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as answer:
            return str(json.loads(answer.read())["reason"])

    # The same key signs for all trials: of the same name elsewhere, and of an earlier job of this name.
    assert put(TRIAL) == "WrongTrial"
    assert put(identity(namespace="elsewhere", name=TRIAL, uid=here.trial()["metadata"]["uid"])) == "WrongTrial"
    assert put(identity(namespace=here.namespace, name=TRIAL, uid="earlier")) == "WrongTrial"

    await here.until("it has begun to cool down", lambda: here.status().get("revision") == 1)
    log = await here.client.read_log(namespace=here.namespace, pod=name_of(pod), container="train", lines=50)
    assert "tuning: control revision 1 in force from step" in log
    assert (await here.ends())["reason"] == "Completed"
    assert float(here.status()["learningRate"]) < here.trial()["spec"]["parameters"]["lr"] / 2
