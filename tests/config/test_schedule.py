"""Which sweeps are woken by the clock? Each must be a task that a worker knows."""

from config.celery import BEAT_SCHEDULE, app


def test_every_sweep_on_the_schedule_is_a_task_that_workers_know() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in BEAT_SCHEDULE.values()} <= set(app.tasks)
