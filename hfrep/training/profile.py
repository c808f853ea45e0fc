"""Where the time of a training step goes, by operator."""

import time
from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

WARM_UP, STEPS, SHOWN = 2, 3, 20


def step_profile(step: Callable[[], None], device: torch.device) -> str:
    """A table of the operators that take most of `step`, which trains once: their own time, without what they call.

    On an accelerator that is the time of its kernels. What is left of the clock is Python, and waiting.
    """
    for _ in range(WARM_UP):
        step()
    on_device = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=activities) as profiled:
        began = time.perf_counter()
        for _ in range(STEPS):
            step()
        if on_device:
            torch.cuda.synchronize()
        milliseconds = (time.perf_counter() - began) * 1e3 / STEPS
    own: dict[str, tuple[float, int]] = {}
    for event in profiled.key_averages():
        if on_device and (event.device_type.name != "CUDA" or event.is_user_annotation):  # these enclose kernels
            continue
        microseconds = event.self_device_time_total if on_device else event.self_cpu_time_total
        own[event.key] = (microseconds / 1e3 / STEPS, event.count // STEPS)
    return "\n".join(_lines(own, milliseconds))


def _lines(own: dict[str, tuple[float, int]], milliseconds: float) -> Iterator[str]:
    ranked = sorted(own, key=lambda name: -own[name][0])
    shown = {name: own[name] for name in ranked[:SHOWN]}
    others = [own[name] for name in ranked[SHOWN:]]
    shown[f"{len(others)} others"] = (sum(time for time, _ in others), sum(calls for _, calls in others))
    shown["between operators"] = (max(0.0, milliseconds - sum(time for time, _ in own.values())), 0)
    yield f"{'operator':<48} {'calls':>6} {'ms':>9} {'share':>6}   (of a step: {milliseconds:,.1f} ms)"
    for name, (taken, calls) in shown.items():
        yield f"{name[:48]:<48} {calls or '':>6} {taken:9,.2f} {taken / milliseconds:6.1%}"
