"""What a search has found, as the plan that is shown, kept and carried out. Pure."""

from __future__ import annotations

from localqwen.engine.candidate import Bytes, Found
from localqwen.engine.draft_places import DraftPlace
from localqwen.engine.inventory import Inventory
from localqwen.engine.machine import Device
from localqwen.engine.shape import Shape
from localqwen.plan import Plan, Share


def as_plan(name: str, shape: Shape, inventory: Inventory, found: Found, place: DraftPlace, threads: int) -> Plan:
    """The plan of the model called ``name``, without its sentences."""
    candidate, key = found.candidate, found.candidate.key
    shares, start = [], candidate.counts[0]

    def share(device: Device, first: int, count: int, part: Bytes) -> Share:
        # A device that has the draft model alone may stand behind the last layer.
        output = count > 0 and first + count > shape.layers
        return Share(
            device=device.name,
            description=device.description,
            kind=device.kind,
            first=first,
            layers=count - output,
            output=output,
            weights=part.weights,
            kv=part.kv,
            compute=part.compute,
            rest=device.rest,
            draft=place.needed if device.name == place.device else 0,
            free=device.free,
        )

    for device, count, part in zip(inventory.devices, candidate.counts[1:], found.bytes, strict=False):
        if count or device.name == place.device:
            shares.append(share(device, start, count, part))
        start += count
    shares.append(share(inventory.cpu, 0, candidate.counts[0], found.bytes[-1]))
    return Plan(
        model=name,
        layers=shape.layers,
        context=key.context,
        kv_type=key.kv_type,
        ubatch=key.ubatch,
        split_mode=key.split_mode,
        threads=threads,
        shares=tuple(shares),
        prefill=1 / candidate.prefill,
        decode=1 / candidate.decode,
        exact=found.exact,
        draft_device=place.device,
    )
