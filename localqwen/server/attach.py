"""``GET /localqwen/attach``: follow the model while it loads, and keep a private server alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter

from localqwen.engine.engine import Engine, Failed, State
from localqwen.errors import LocalqwenError
from localqwen.events import Loading, Planned, Ready
from localqwen.server import sse
from localqwen.server.failures import ApiError
from localqwen.server.memory import device_memory, machine_devices
from localqwen.server.responses import Json


class Attachments:
    """The open attach streams; :meth:`end` closes them all so that the server can shut down."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Close every stream."""
        self._ending.set()

    @property
    def planned(self) -> Planned | None:
        """Where the model goes, once that is known."""
        return self._engine.planned

    @property
    def failure(self) -> LocalqwenError | None:
        """Why the model cannot be loaded, once that is known."""
        state = self._engine.state
        return state.error if isinstance(state, Failed) else None

    async def events(self) -> AsyncIterator[bytes]:
        """``plan`` {plan, taken}, ``loading`` {progress, done, total}, then ``ready`` {model, context, sampling}.

        Or ``error`` {message}. Heartbeats come between them, and another ``plan`` when what the devices really gave is
        known.

        The stream stays open after ``ready`` and ends after ``error``.
        """
        loop = asyncio.get_running_loop()
        states: asyncio.Queue[State | None] = asyncio.Queue()
        unsubscribe = self._engine.subscribe(lambda state: _pass_on(loop, states, state))
        ending = asyncio.ensure_future(self._ending.wait())
        ending.add_done_callback(lambda _: states.put_nowait(None))
        try:
            told: Planned | None = None
            while True:
                try:
                    async with asyncio.timeout(sse.HEARTBEAT_SECONDS):
                        state = await states.get()
                except TimeoutError:
                    yield sse.HEARTBEAT
                    continue
                if (planned := self._engine.planned) is not None and planned is not told:
                    told = planned
                    yield sse.message(plan_fields(planned), "plan")
                match state:
                    case Loading():
                        yield sse.message(asdict(state), "loading")
                    case Ready():
                        sampling = {
                            name: value for name, value in asdict(state.sampling).items() if value not in (None, ())
                        }
                        about = {"model": state.model, "context": state.context, "sampling": sampling}
                        yield sse.message(about, "ready")
                    case Failed():
                        yield sse.message({"message": str(state.error)}, "error")
                        return
                    case None:
                        return
        finally:
            unsubscribe()
            ending.cancel()


def ready_fields(ready: Ready) -> dict[str, object]:
    """A model that answers, as JSON; of its sampling, what is known."""
    sampling = {name: value for name, value in asdict(ready.sampling).items() if value not in (None, ())}
    return {"model": ready.model, "context": ready.context, "sampling": sampling}


def plan_fields(planned: Planned) -> dict[str, object]:
    """A plan and what its devices really gave, as JSON."""
    return {"plan": planned.plan.as_json(), "taken": dict(planned.taken)}


def _pass_on(loop: asyncio.AbstractEventLoop, states: asyncio.Queue[State | None], state: State) -> None:
    loop.call_soon_threadsafe(states.put_nowait, state)


def router(attachments: Attachments) -> APIRouter:
    """The route over ``attachments``."""
    routes = APIRouter()

    @routes.get("/localqwen/attach", include_in_schema=False)
    async def attach() -> sse.EventStream:
        return sse.EventStream(attachments.events())

    @routes.get("/localqwen/plan", include_in_schema=False)
    async def plan() -> dict[str, object]:
        planned = attachments.planned
        if (failure := attachments.failure) is not None:
            raise ApiError(503, str(failure))
        if planned is None:
            raise ApiError(503, "The model is still being planned: ask again in a moment.", code="loading", retry=1)
        return plan_fields(planned)

    @routes.get("/localqwen/memory", include_in_schema=False)
    async def memory() -> Json:
        """What is used and what there is on each device that the model uses; nothing before that is known."""
        planned = attachments.planned
        devices = await asyncio.to_thread(device_memory, planned) if planned is not None else ()
        return Json({"devices": [asdict(device) for device in devices]})

    @routes.get("/localqwen/devices", include_in_schema=False)
    async def devices() -> Json:
        """What models can go to on this machine, and what is free there, whatever the present model uses."""
        return Json({"devices": await asyncio.to_thread(machine_devices, attachments.planned)})

    return routes
