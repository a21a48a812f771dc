"""What people do to a running job on a real node: edit it, suspend it, take things away under the operator's feet."""

from __future__ import annotations

from typing import Any

from tests.cluster.bed import CLAIM, STUDY, Bed, is_true

from tuning_operator.backends.kubernetes.labels import LABEL_QUEUE
from tuning_operator.backends.kubernetes.mark_lines import read_mark
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, SERVICES, TRIALS, TUNING_JOBS, name_of

TRIAL = f"{STUDY}-0000"
ON_CLAIM = {"checkpoint": {"claim": CLAIM}}


def counts(here: Bed) -> dict[str, Any]:
    jobs = here.all(TUNING_JOBS)
    return dict((jobs[0].get("status") or {}).get("trials") or {}) if jobs else {}


async def test_budget_and_parallelism_may_be_edited_while_it_runs(here: Bed) -> None:
    await here.apply("pause=0.2", budget={"trials": 2, "parallel": 1, "failedTrials": 1})
    await here.runs(0)
    assert len(here.all(TRIALS)) == 1
    await here.patch(budget={"parallel": 2})
    await here.runs(1)
    first, second = here.pods(0), here.pods(1)
    await here.patch(budget={"parallel": 1, "trials": 3})
    await here.ends(0)
    assert [name_of(pod) for pod in here.pods(0) + here.pods(1)] == [name_of(first[0]), name_of(second[0])]
    assert here.trial(2) == {}, "two ran, and now only one may"
    await here.ends(1)
    await here.ends(2)
    await here.until("it is complete", lambda: is_true(here.all(TUNING_JOBS)[0], "Complete"))
    assert counts(here)["completed"] == 3


async def test_suspend_frees_all_pods_and_goes_on_from_the_checkpoints(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.2", trial=ON_CLAIM, budget={"trials": 2, "parallel": 2, "failedTrials": 1})
    await here.runs(0, step=10)
    await here.runs(1, step=10)
    await here.patch(suspend=True)
    await here.until("no pod is left", lambda: not here.all(PODS) and not here.all(JOBS))
    await here.until("all say so", lambda: [here.state(0), here.state(1)] == ["Paused", "Paused"])
    await here.until("the job says so", lambda: is_true(here.all(TUNING_JOBS)[0], "Suspended"))
    marks = {number: here.status(number)["marks"] for number in (0, 1)}
    await here.patch(suspend=False)
    for number in (0, 1):
        status = await here.ends(number)
        began, went_on = here.starts(number)
        assert (began, status["reason"], status["attempt"]) == (0, "Completed", 2)
        assert went_on >= 10
        before = marks[number]
        assert status["marks"][: len(before)] == before, "what was recorded before stays"
        reached = [read_mark(line, trial=number).at.mark for line in status["marks"]]
        assert reached == sorted(set(reached))
    assert not here.events("Recreating")


async def test_a_deleted_job_leaves_nothing_and_its_name_begins_anew(here: Bed) -> None:
    here.claim()
    await here.apply(
        "pause=0.2", trial={**ON_CLAIM, "nodes": 2}, budget={"trials": 2, "parallel": 2, "failedTrials": 1}
    )
    await here.runs(0, step=10)
    await here.runs(1, step=4)
    assert (len(here.all(JOBS)), len(here.all(PODS)), len(here.all(SERVICES))) == (2, 4, 2)
    await here.client.delete(TUNING_JOBS, namespace=here.namespace, name=STUDY)
    kinds = (TUNING_JOBS, TRIALS, JOBS, PODS, SERVICES)
    await here.until("nothing is left", lambda: not any(here.all(kind) for kind in kinds), 90)
    await here.apply("pause=0.01", trial=ON_CLAIM)
    await here.ends(0)
    earlier, later = sorted(here.volume.glob(f"{TRIAL}-*"), key=lambda folder: folder.stat().st_ctime)
    del earlier
    assert (later / "starts").read_text() == "0\n", "the checkpoint of the earlier job of this name is not its own"


async def test_a_deleted_job_of_a_trial_is_made_again_and_goes_on(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", trial=ON_CLAIM)
    await here.runs(step=10)
    await here.client.delete(JOBS, namespace=here.namespace, name=TRIAL)
    told = await here.event("Recreating")
    assert told.startswith("its Job was deleted, and not by this operator; it is made again")
    assert (await here.ends())["reason"] == "Completed"
    assert here.starts()[1] >= 10
    assert here.status()["attempt"] == 2


async def test_a_deleted_pod_is_replaced_and_counts_as_no_failure(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", trial=ON_CLAIM)
    pod = await here.runs(step=10)
    await here.client.delete(PODS, namespace=here.namespace, name=name_of(pod))
    told = await here.event("Restarting")
    assert told == f"Preempted: pod {name_of(pod)} was deleted, and not by this operator"
    assert (await here.ends())["reason"] == "Completed"
    assert here.starts()[1] >= 10


async def test_a_deleted_trial_is_told_of_and_the_job_goes_on_without_it(here: Bed) -> None:
    await here.apply("pause=0.1", budget={"trials": 2, "parallel": 2, "failedTrials": 1})
    await here.runs(0)
    await here.runs(1)
    gone = here.trial(0)["metadata"]["uid"]
    await here.client.delete(TRIALS, namespace=here.namespace, name=TRIAL)
    told = await here.event("ObjectsChanged")
    assert told.startswith(f"Trial {TRIAL} is gone though it had not ended")
    await here.until("it is complete", lambda: is_true(here.all(TUNING_JOBS)[0], "Complete"), 90)
    assert counts(here)["completed"] == 2, "another one took its place"
    assert all(one["metadata"]["uid"] != gone for one in here.all(TRIALS))
    assert all(gone not in str(job["metadata"]["ownerReferences"]) for job in here.all(JOBS))


async def test_a_queue_holds_a_trial_back_and_interrupts_it(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", trial=ON_CLAIM, metadata={"labels": {LABEL_QUEUE: "gpus"}})
    await here.until("it is queued", lambda: here.state() == "Queued")
    assert not here.all(PODS)
    (job,) = here.all(JOBS)
    assert job["metadata"]["labels"][LABEL_QUEUE] == "gpus"
    await queue(here, admit=True)
    await here.runs(step=10)
    await queue(here, admit=False)
    await here.until("it is queued again", lambda: here.state() == "Queued" and not here.all(PODS))
    assert here.status().get("reason") is None
    await queue(here, admit=True)
    assert (await here.ends())["reason"] == "Completed"
    began, went_on = here.starts()
    assert (began, went_on >= 10) == (0, True)


async def test_a_queue_may_interrupt_a_trial_that_exits_with_0(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", "exits-0", trial=ON_CLAIM, metadata={"labels": {LABEL_QUEUE: "gpus"}})
    await here.until("it is queued", lambda: here.state() == "Queued")
    await queue(here, admit=True)
    await here.runs(step=10)
    await queue(here, admit=False)
    await here.until("it is queued again", lambda: here.state() == "Queued" and not here.all(PODS))
    await queue(here, admit=True)
    assert (await here.ends())["reason"] == "Completed"
    assert here.starts()[1] >= 10
    assert [name_of(job) for job in here.all(JOBS)] == [TRIAL], "the Job that ended by itself stays"
    assert not here.events("Restarting")


async def queue(here: Bed, *, admit: bool) -> None:
    """Do what Kueue does with a Job."""
    await here.client.patch(JOBS, {"spec": {"suspend": not admit}}, namespace=here.namespace, name=TRIAL)
