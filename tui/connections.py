"""Ways to reach a model: our own server process, which must be started and watched, or somebody else's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from localqwen.device_memory import DeviceMemory
from localqwen.errors import LocalqwenError, ServerError, ServerGoneError, ServerRefusedError
from localqwen.events import AnswerEvent, LoadEvent, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.serve_options import ServeOptions

if TYPE_CHECKING:
    from localqwen.client import Client
    from localqwen.endpoint import Endpoint
    from localqwen.supervisor import Supervisor

ATTACH_SECONDS = 10.0
NAMED = 5  # models of a server in a sentence


class AnswerClient(Protocol):
    """What the app needs of :class:`localqwen.client.Client`."""

    def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = ...,
        model: str | None = ...,
        *,
        resume: bool = ...,
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The events of one answer, or of the rest of one."""
        ...

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        """How many tokens that is; ``None`` where nobody knows."""
        ...

    async def memory(self) -> tuple[DeviceMemory, ...]:
        """How full the model's devices are; nothing where nobody knows."""
        ...


class Listener(Protocol):
    """Whom a connection tells what happens to it."""

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """The model is loading, or ready for questions through ``client``."""

    def lost(self) -> None:
        """The server has gone; why is being found out."""


class Connection(Protocol):
    """One way to reach a model."""

    @property
    def name(self) -> str:
        """The model or the address, until the server tells its own name."""
        ...

    @property
    def address(self) -> str | None:
        """Where what is typed goes to; ``None`` when it stays on this machine."""
        ...

    async def live(self, listener: Listener) -> str:
        """Connect, tell what happens, and return only when the server has gone: the reason, as a sentence.

        Cancelled, it leaves the server, and one that only loads for us gives up.
        """
        ...


class LocalServer:
    """Our own server process. The attached connection keeps it alive and tells when it dies."""

    address = None

    def __init__(
        self, model: Path, name: str, options: ServeOptions | None = None, others: tuple[Path, ...] = ()
    ) -> None:
        """``model`` is a GGUF file; ``others`` were open before, and are not all in the models directory."""
        self.others = others
        self.name = name
        self.model = model
        self.options = options
        self._leaving: set[asyncio.Task[None]] = set()

    async def live(self, listener: Listener) -> str:
        """Start the process or join a running one, and stay attached."""
        # The HTTP library takes a fifth of the time to the first paint, and is needed only now.
        await asyncio.to_thread(import_module, "localqwen.supervisor")
        from localqwen.client import Client
        from localqwen.supervisor import Supervisor

        supervisor = Supervisor(self.model, self.options, self.name)
        heard = False
        for _ in range(2):  # a server that we joined may have been about to leave
            async with Client(await self._started(supervisor)) as client:
                try:
                    async with aclosing(client.attach()) as events:
                        async for event in events:
                            heard = True
                            listener.loaded(client, event)
                except ServerGoneError:
                    pass  # its exit status tells more
                except ServerError as error:
                    return str(error)  # a server that says why it cannot load knows better
            if heard:
                break
        listener.lost()
        return await asyncio.to_thread(supervisor.failure)

    async def devices(self) -> list[dict[str, Any]]:
        """What the process tells of the machine's devices, if one runs; it has them open already."""
        from localqwen.client import Client
        from localqwen.endpoint import Endpoint
        from localqwen.supervisor import Supervisor

        try:
            socket = Supervisor(self.model, self.options, self.name).socket
            async with Client(Endpoint(uds=socket)) as client:
                return await client.devices() if socket.exists() else []
        except LocalqwenError:  # its file has gone
            return []

    async def _started(self, supervisor: Supervisor) -> Endpoint:
        starting = asyncio.ensure_future(supervisor.start())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on, and a process that nobody ever attaches to would load its model and wait a minute.
            task = asyncio.ensure_future(_let_go(starting))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            raise


class RemoteServer:
    """Any OpenAI-compatible server. One of ours is followed while it loads and until it goes; others tell nothing."""

    def __init__(self, endpoint: Endpoint, model: str | None = None) -> None:
        self.endpoint = endpoint
        self.model = model
        self.name = model or endpoint.url
        self.address = endpoint.url

    async def live(self, listener: Listener) -> str:
        """Ask which models there are, and whether this is a server of ours, which tells more.

        The connection to another one is considered good until an answer fails.
        """
        await asyncio.to_thread(import_module, "localqwen.client")
        from localqwen.client import Client

        async with Client(self.endpoint) as client:
            offered = {one.name: one for one in await client.offered()}
            model = self.model or next(iter(offered), None)
            if model is None:
                return f"{self.endpoint.url} offers no model: start one there, or name it."
            if offered and not is_offered(model, offered):
                return f"{self.endpoint.url} does not offer {model}: name one that it does ({_listed(offered)})."
            reason = await _followed(client, model, listener)
            if reason is not None:
                listener.lost()
                return reason
            listener.loaded(client, Ready(model, offered[model].window if model in offered else 0))
            await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def _followed(client: Client, model: str, listener: Listener) -> str | None:
    """Follow a server of ours until it goes away, and return why; ``None`` at once for another one."""
    is_ours = False
    try:
        async with aclosing(client.attach()) as events:
            # Ours says at once how it is. Others may leave open what they do not know, or hang up.
            async with asyncio.timeout(ATTACH_SECONDS) as limit:
                async for event in events:
                    is_ours = True
                    limit.reschedule(None)
                    listener.loaded(client, replace(event, model=model) if isinstance(event, Ready) else event)
    except (ServerRefusedError, TimeoutError):
        return None
    except ServerGoneError as error:
        return str(error) if is_ours else None
    except ServerError as error:
        return f"{client.endpoint.url} cannot load its model: {error}"
    raise AssertionError("unreachable")


def is_offered(model: str, offered: Collection[str]) -> bool:
    """Whether a server that lists ``offered`` knows a model by this name.

    What follows a colon may be left out (Ollama's ``:latest``) or added (OpenRouter's ``:free``) without being listed.
    """
    return model in offered or model.partition(":")[0] in {one.partition(":")[0] for one in offered}


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (" and others" if len(names) > NAMED else "")


async def _let_go(starting: asyncio.Future[Endpoint]) -> None:
    """Attach to a server and leave it: one that still loads then ends, others need it or wait for nobody."""
    from localqwen.client import Client

    with suppress(LocalqwenError):
        async with Client(await starting) as client, aclosing(client.attach()) as events:
            await anext(events, None)
