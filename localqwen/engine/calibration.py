"""Speeds of devices after a benchmark of a whole model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localqwen.engine.machine import Device, Speed
from localqwen.engine.speed import Work, helper_for

LEAST = 0.05  # of what a device was thought to take: what is beyond is another one's doing


def predicted(work: Work, cpu: Device, devices: Sequence[Device], counts: Sequence[int]) -> tuple[float, float]:
    """Tokens per second of prefill, and of decode at the beginning of a conversation, by the cost model.

    ``counts`` are the layers of the CPU and of each device.
    """
    places = [cpu, *devices]
    helper = _helper(places, counts)
    prefill = _by_device([work.prefill(device, helper if device is cpu else None) for device in places], counts)
    decode = _by_device([work.decode(device, 0) for device in places], counts)
    return 1 / sum(prefill), 1 / (sum(decode) + _latency(places, counts))


def calibrated(
    work: Work, cpu: Device, devices: Sequence[Device], counts: Sequence[int], prefill: float | None, decode: float
) -> dict[str, Speed]:
    """The speeds with which the cost model says ``prefill`` (if that is known) and ``decode`` tokens per second.

    ``counts`` are the layers of the CPU and of each device. What the model was wrong by is put down to the device that
    takes longest: for decode to its reading, for prefill to its computing, or to the uploads of the CPU's layers.
    """
    before = [cpu, *devices]
    after = _decode(work, before, counts, decode)
    if prefill is not None:
        after = _prefill(work, after, counts, prefill)
    pairs = zip(before, after, strict=True)
    return {new.name: new.speed for old, new in pairs if new.speed != old.speed}


def _decode(work: Work, devices: Sequence[Device], counts: Sequence[int], measured: float) -> list[Device]:
    reading = _by_device([work.decode(device, 0) for device in devices], counts)
    at, times = _slowest(reading, 1 / measured - _latency(devices, counts))
    speed = devices[at].speed
    return _with(devices, at, replace(speed, read=speed.read / times))


def _prefill(work: Work, devices: Sequence[Device], counts: Sequence[int], measured: float) -> list[Device]:
    helper = _helper(devices, counts)
    workers = [device if at or helper is None else helper for at, device in enumerate(devices)]
    sums = [work.prefill(device, helper if at == 0 else None) for at, device in enumerate(devices)]
    # Without the transfer of weights, which a device of endless bandwidth has.
    endless = [replace(one, speed=replace(one.speed, read=1e30, upload=1e30)) for one in workers]
    computing = _by_device([work.prefill(device) for device in endless], counts)
    transfers = [all_of - part for all_of, part in zip(_by_device(sums, counts), computing, strict=True)]
    if helper is not None and transfers[0] > max(computing):
        at = devices.index(helper)
        _, times = _slowest(transfers[:1], 1 / measured - sum(transfers[1:]) - sum(computing))
        speed = devices[at].speed
        return _with(devices, at, replace(speed, upload=speed.upload / times))
    by_worker = [
        sum(seconds for worker, seconds in zip(workers, computing, strict=True) if worker is device)
        for device in devices
    ]
    at, times = _slowest(by_worker, 1 / measured - sum(transfers))
    speed = devices[at].speed
    return _with(devices, at, replace(speed, compute=speed.compute / times))


def _helper(devices: Sequence[Device], counts: Sequence[int]) -> Device | None:
    return helper_for([device for device, count in zip(devices, counts, strict=True) if count])


def _latency(devices: Sequence[Device], counts: Sequence[int]) -> float:
    return sum(device.speed.latency for device, count in zip(devices, counts, strict=True) if count)


def _by_device(seconds: Sequence[Sequence[float]], counts: Sequence[int]) -> list[float]:
    """Each device's sum over its own layers."""
    found, start = [], 0
    for layers, count in zip(seconds, counts, strict=True):
        found.append(sum(layers[start : start + count]))
        start += count
    return found


def _slowest(seconds: Sequence[float], measured: float) -> tuple[int, float]:
    """Which takes longest, and how many times as long it has to take for the sum to be as measured."""
    at = max(range(len(seconds)), key=lambda one: seconds[one])
    rest = sum(seconds) - seconds[at]
    return at, max(measured - rest, LEAST * seconds[at]) / seconds[at]


def _with(devices: Sequence[Device], at: int, speed: Speed) -> list[Device]:
    return [replace(device, speed=speed) if one == at else device for one, device in enumerate(devices)]
