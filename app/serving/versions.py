"""Versions of one model: the newest answers; a newer one takes over once it is loaded and warm."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from epochal.app.errors import EpochalError, StorageError
from epochal.app.serving.batching import Batcher
from epochal.app.serving.loaded_model import LoadedModel, load_model
from epochal.app.store.export import served_versions

_SECONDS_BETWEEN_LOOKS = 1.0  # as TensorFlow Serving
_MOST_ENDED = 10  # versions that ended, whose state is still shown

_LOG = logging.getLogger("epochal.serving")


class NotFound(LookupError):
    """No such version answers."""


class NotReady(Exception):
    """The first version is still being loaded."""


@dataclass
class VersionState:
    """State of a version, its error code and message, in TensorFlow Serving's words."""

    state: str
    code: str = "OK"
    message: str = ""


@dataclass(eq=False)
class ServedVersion:
    """A version that answers: a queue for each signature, and how many requests are using it."""

    model: LoadedModel
    batchers: dict[str, Batcher]
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Versions:
    """Watches saved_models/NAME/ and keeps its newest version ready.

    Args:
        folder: of the model; its numbered sub-folders are versions.
        trust: whether to run SavedModels that this program did not make.
        make_batcher: makes the queue of a signature, of the signature and an executor.
        load: loads a version's folder.

    Attributes:
        name: of the model.
        states: of all versions that are known, by number.
        current: the version that answers, None until the first one is ready.
        failure: why the last version that was tried cannot be served.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trust: bool,
        make_batcher: Callable[..., Batcher] = Batcher,
        load: Callable[..., LoadedModel] = load_model,
    ) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.states: dict[int, VersionState] = {}
        self.current: ServedVersion | None = None
        self.failure: EpochalError | None = None
        self._trust = trust
        self._make_batcher = make_batcher
        self._load = load
        # One batch at a time: TensorFlow has threads of its own.
        self._call_executor = ThreadPoolExecutor(1, "call")
        self._load_executor = ThreadPoolExecutor(1, "load")
        self._folders: dict[int, Path] = {}
        self._failed_changes: dict[int, float] = {}
        self._current_change = 0.0

    @property
    def current_number(self) -> int | None:
        """Number of the version that answers, if any."""
        if self.current is None:
            return None
        return self.current.model.version

    @property
    def current_folder(self) -> Path | None:
        """Folder of the version that answers, if any."""
        if self.current is None:
            return None
        return self._folders[self.current.model.version]

    @contextmanager
    def using(self, version: int | None = None) -> Iterator[ServedVersion]:
        """Give the version that answers, which is kept until the context ends.

        Raises:
            NotFound: it is not this version.
            NotReady: there is none yet.
        """
        served = self.current
        if served is None:
            raise NotReady(f"{self.name} is being loaded; try again later")
        if version not in (None, served.model.version):
            raise NotFound(f"Servable not found for request: Specific({self.name}, {version})")
        served.users += 1
        try:
            yield served
        finally:
            served.users -= 1
            if not served.users:
                served.idle.set()

    async def watch(self) -> None:
        """Look for a newer version again and again."""
        while True:
            await self.look()
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    async def look(self) -> None:
        """Load the newest version there is, unless it answers already.

        A broken one leaves that which answers where it is. Where the one that answers was deleted,
        the newest of the others takes over; where all were, it stays.
        """
        folders = served_versions(self.folder)
        self._folders |= folders
        numbers = sorted(folders, reverse=True)
        current = self.current_number
        for number in numbers:
            if current is not None and current in numbers:
                if number < current:
                    return
                if number == current and self._current_change == self._last_change(number):
                    return
            if await self._try(number):
                return

    async def _try(self, number: int) -> bool:
        """Load a version and let it answer; return whether it does."""
        folder = self._folders[number]
        change = self._last_change(number)
        if self._failed_changes.get(number) == change:
            return False
        self.states[number] = VersionState("LOADING")
        try:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(
                self._load_executor, lambda: self._load(folder, trust=self._trust)
            )
            batchers = {}
            for name, signature in model.signatures.items():
                batchers[name] = self._make_batcher(signature, self._call_executor)
        except Exception as error:  # whatever it is, the watch goes on
            self._failed_changes[number] = change
            self._note_failure(number, error)
            return False
        self._current_change = change
        self._switch_to(ServedVersion(model, batchers))
        return True

    def _note_failure(self, number: int, error: Exception) -> None:
        folder = self._folders[number]
        if isinstance(error, EpochalError):
            self.failure = error
        else:
            self.failure = StorageError(f"{folder}: {error}")
        state = "END"
        if number == self.current_number:  # what was loaded of it before goes on
            state = "AVAILABLE"
        reason = str(error).replace(str(folder), f"version {number}")
        self.states[number] = VersionState(
            state,
            "FAILED_PRECONDITION",
            reason,
        )
        _LOG.warning(f"version {number} cannot be served: {error}")

    def _switch_to(self, served: ServedVersion) -> None:
        previous = self.current
        self.current = served
        if previous is not None:
            self.states[previous.model.version] = VersionState("UNLOADING")
            self._retiring = asyncio.create_task(self._retire(previous))
        number = served.model.version
        self.states[number] = VersionState("AVAILABLE")
        _LOG.info(f"version {number} is ready")

    async def _retire(self, served: ServedVersion) -> None:
        """Wait until no request uses a version any more; forget versions that ended long ago."""
        while served.users:
            served.idle.clear()
            await served.idle.wait()
        number = served.model.version
        if number != self.current_number:
            self.states[number] = VersionState("END")
        ended = []
        for number, state in self.states.items():
            if state.state == "END":
                ended.append(number)
        ended.sort()
        for number in ended[:-_MOST_ENDED]:
            del self.states[number]

    def _last_change(self, number: int) -> float:
        """Return the time of the last change to a version's folder or anything in it."""
        folder = self._folders[number]
        try:
            return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        except OSError:
            return 0.0
