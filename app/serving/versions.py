"""The versions of one model: the newest answers, and a newer one takes over once it is loaded and warm."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from epochal.app.errors import EpochalError, StorageError
from epochal.app.serving.batching import Batcher
from epochal.app.serving.loaded_model import Loaded, load
from epochal.app.store.export import served_versions

_LOOK = 1.0  # seconds between looks at the folder, as TensorFlow Serving
_FORGOTTEN = 10  # versions that ended are still told of, at most so many


class NotFound(LookupError):
    """No such version answers."""


class NotReady(Exception):
    """The first version is still being loaded."""


@dataclass
class State:
    """Where a version stands, in TensorFlow Serving's words."""

    state: str
    code: str = "OK"
    message: str = ""


@dataclass(eq=False)
class Served:
    """A version that answers: a queue for each signature, and how many requests are using it."""

    loaded: Loaded
    batchers: dict[str, Batcher]
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Versions:
    """Watches saved_models/NAME/ and keeps its newest version ready.

    Args:
        folder: of the model; its numbered sub-folders are versions.
        trust: whether to run SavedModels that this program did not make.
        say: told what is loaded, let go and what failed.
        batcher: makes the queue of a signature.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trust: bool,
        say: Callable[[str], None],
        batcher: Callable[..., Batcher] = Batcher,
    ) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.states: dict[int, State] = {}
        self.current: Served | None = None
        self.failure: EpochalError | None = (
            None  # why the last version that was tried cannot be served
        )
        self._trust = trust
        self._say = say
        self.batcher = batcher
        self._calls = ThreadPoolExecutor(
            1, "call"
        )  # one batch at a time: TensorFlow has threads of its own
        self._loads = ThreadPoolExecutor(1, "load")
        self._failed: dict[int, float] = {}
        self._since = 0.0  # when the version that answers was changed last

    @contextmanager
    def using(self, version: int | None = None) -> Iterator[Served]:
        """The version that answers, which is not let go meanwhile.

        Raises:
            NotFound: not this version.
            NotReady: none yet.
        """
        served = self.current
        if served is None:
            raise NotReady(f"{self.name} is being loaded; try again later")
        if version not in (None, served.loaded.version):
            raise NotFound(f"Servable not found for request: Specific({self.name}, {version})")
        served.users += 1
        try:
            yield served
        finally:
            served.users -= 1
            if not served.users:
                served.idle.set()

    async def watch(self) -> None:
        """Looks for a newer version again and again."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK)

    async def look(self) -> None:
        """Loads the newest version there is, unless it answers already; a broken one leaves that where it is.

        Where the one that answers was deleted, the newest of the others takes over; where all were, it stays.
        """
        there = sorted(served_versions(self.folder), reverse=True)
        now = self.current and self.current.loaded.version
        for version in there:
            if now in there and (
                version < now
                or (version == now and self._since == _changed(self.folder / str(now)))
            ):
                return
            if await self._try(version):
                return

    async def _try(self, version: int) -> bool:
        folder = self.folder / str(version)
        changed = _changed(folder)
        if self._failed.get(version) == changed:
            return False
        self.states[version] = State("LOADING")
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._loads, lambda: load(folder, trust=self._trust)
            )
            served = Served(
                loaded,
                {name: self.batcher(one, self._calls) for name, one in loaded.signatures.items()},
            )
        except Exception as error:  # whatever it is, the watch goes on
            self.failure = (
                error if isinstance(error, EpochalError) else StorageError(f"{folder}: {error}")
            )
            self._failed[version] = changed
            answers = (
                self.current is not None and self.current.loaded.version == version
            )  # as it was before
            reason = str(error).replace(str(folder), f"version {version}")
            self.states[version] = State(
                "AVAILABLE" if answers else "END", "FAILED_PRECONDITION", reason
            )
            self._say(f"version {version} cannot be served: {error}")
            return False
        self._since = changed
        self._swap(served)
        return True

    def _swap(self, served: Served) -> None:
        before = self.current
        self.current = served
        if before is not None:
            self.states[before.loaded.version] = State("UNLOADING")
            self._ending = asyncio.create_task(self._let_go(before))
        self.states[served.loaded.version] = State("AVAILABLE")
        self._say(f"version {served.loaded.version} is ready")

    async def _let_go(self, served: Served) -> None:
        while served.users:
            served.idle.clear()
            await served.idle.wait()
        if self.current is None or self.current.loaded.version != served.loaded.version:
            self.states[served.loaded.version] = State("END")
        for version in sorted(v for v, one in self.states.items() if one.state == "END")[
            :-_FORGOTTEN
        ]:
            del self.states[version]


def _changed(folder: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return 0.0
