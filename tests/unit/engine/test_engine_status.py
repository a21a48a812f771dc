from datetime import UTC, datetime

from tests.unit.engine.driving import Driver

from tuning_operator.engine.events import EndReason, JobSuspended
from tuning_operator.engine.status import job_status


def conditions(status) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status.value, one.reason) for one in status.conditions}


def test_a_running_job():
    driver = Driver()
    driver.begin()
    driver.end(0, 0.25, checkpoint="file:///0")
    driver.end(1, 0.5, reason=EndReason.STOPPED_EARLY)
    driver.end(2, reason=EndReason.FAILED)
    driver.propose()
    status = job_status(driver.engine.view(time=driver.time), time=driver.time, generation=3)
    assert conditions(status) == {
        "Complete": ("False", "InProgress"),
        "Failed": ("False", "NoFailure"),
        "Suspended": ("False", "NotSuspended"),
        "Running": ("True", "Searching"),
        "Accepted": ("True", "Valid"),
    }
    assert status.trials.model_dump() == {
        "pending": 3,
        "running": 1,
        "paused": 0,
        "completed": 1,
        "stopped_early": 1,
        "failed": 1,
    }
    assert status.best.model_dump()["value"] == "0.25"
    assert (status.best.name, status.best.checkpoint) == ("job-0000", "file:///0")
    assert [one.name for one in status.top] == ["job-0000", "job-0001"]
    assert (status.start_time, status.completion_time) == (datetime.fromtimestamp(100, tz=UTC), None)
    assert status.observed_generation == status.conditions[0].observed_generation == 3


def test_a_status_needs_no_points_of_curves():
    driver = Driver()
    driver.begin()
    driver.mark(0, 10, 0.5)
    driver.end(0, 0.25)
    whole, bare = (driver.engine.view(time=driver.time, points=points) for points in (True, False))
    assert whole.trials[0].points
    assert not bare.trials[0].points
    statuses = [job_status(view, time=driver.time, generation=1) for view in (whole, bare)]
    assert statuses[0] == statuses[1]


def test_transition_times_change_only_with_the_status_of_a_condition():
    driver = Driver()
    driver.begin()
    first = job_status(driver.engine.view(time=0.0), time=1000.0)
    driver.say(JobSuspended)
    second = job_status(driver.engine.view(time=0.0), time=2000.0, before=first)
    since = {one.type: one.last_transition_time.timestamp() for one in second.conditions}
    assert since == {"Complete": 1000, "Failed": 1000, "Suspended": 2000, "Running": 2000, "Accepted": 1000}
    assert job_status(driver.engine.view(time=0.0), time=3000.0, before=second) == second


def test_a_failed_job():
    driver = Driver(budget={"trials": 4, "parallel": 4, "failedTrials": 0})
    driver.begin()
    for trial in range(4):
        driver.end(trial, reason=EndReason.FAILED)
    status = job_status(driver.engine.view(time=driver.time), time=driver.time)
    assert conditions(status)["Failed"] == ("True", "TooManyFailures")
    assert conditions(status)["Complete"][0] == "False"
    assert status.completion_time is not None
    assert status.best is None


def test_the_status_is_bounded_and_survives_json():
    driver = Driver(budget={"trials": 300, "parallel": 300})
    driver.begin()
    for trial in range(300):
        driver.end(trial, 1e-7 * trial, checkpoint="x" * 900)
    status = job_status(driver.engine.view(time=driver.time), time=driver.time)
    text = status.model_dump_json(by_alias=True)
    assert len(status.top) == 10
    assert len(text) < 20_000
    assert type(status).model_validate_json(text) == status
