import io

from synthct_jax.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(stream, steps, *, seconds=2.0, start=0, pause_at=None, log_every=5):
    clock = Clock()
    progress = Progress(100, start=start, stream=stream, clock=clock)
    for step in range(start + 1, start + steps + 1):
        clock.now += 60.0 if step == start + 1 else seconds  # the first one compiles
        if step == pause_at:
            clock.now += 1000.0
            progress.pause()
        losses = {"adversarial_ct": 0.5}
        progress.step(step, losses, logged=step % log_every == 0)
    progress.finish()
    return progress


def test_file_gets_a_plain_line_for_each_logged_step():
    stream = io.StringIO()
    run(stream, 10)
    assert stream.getvalue().splitlines() == [
        "step 5/100  2.0 s/step  0:03:10 left  adv_ct 0.5",
        "step 10/100  2.0 s/step  0:03:00 left  adv_ct 0.5",
    ]


def test_terminal_gets_one_line_that_is_redrawn():
    stream = Terminal()
    run(stream, 10)
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    lines = text.split("\r\x1b[K")[1:]
    assert len(lines) == 10
    assert lines[0].startswith("step 1/100  adv_ct")  # no rate yet
    assert lines[-1].startswith("step 10/100  2.0 s/step")
    assert all(len(line) <= 80 for line in lines)


def test_fast_run_does_not_flood_the_terminal():
    stream = Terminal()
    run(stream, 100, seconds=0.001, log_every=50)
    assert stream.getvalue().count("\r") < 10


def test_rate_leaves_out_pauses():
    progress = run(io.StringIO(), 10, pause_at=8)
    assert progress.steps_per_second == 0.5


def test_time_left_of_a_resumed_run_counts_its_own_steps():
    stream = io.StringIO()
    run(stream, 5, start=50)
    assert stream.getvalue().startswith("step 55/100  2.0 s/step  0:01:30 left")


def test_days_left_are_shown_in_hours():
    stream = io.StringIO()
    run(stream, 5, seconds=1000.0)
    assert stream.getvalue().startswith("step 5/100  1000.0 s/step  26:23:20 left")


def test_note_stays_on_a_line_of_its_own():
    stream = Terminal()
    progress = Progress(10, stream=stream)
    progress.step(1, {})
    progress.note("validated")
    progress.step(2, {})
    progress.finish()
    assert "step 1/10\nvalidated\n" in stream.getvalue()


def test_other_processes_print_nothing():
    stream = io.StringIO()
    progress = Progress(10, stream=stream, shown=False)
    progress.step(1, {"loss": 1.0}, logged=True)
    progress.note("validated")
    assert stream.getvalue() == ""
