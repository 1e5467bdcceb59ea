"""What is known of a cluster: each kind is listed once and then watched, by itself, so that none hinders another.

    list ─► watch ─► its end ─► watch from where it ended
      ▲       │ error: back off, then likewise
      └───────┘ the server does not know that version any more (410)

What was known stays when a kind cannot be watched, or not any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from lbcore.provider.follow import Backoff
from lbcore.provider.kubernetes.access import Access
from lbcore.provider.kubernetes.client import Expired, KubernetesClient, Thing
from lbcore.provider.kubernetes.shape import mapping
from lbcore.provider.web import AnswerError

WATCH_S = (300, 600)  # longest duration of a watch; at random, so that they do not end together
LATE_S = 30.0  # by which a server may end one later
SHORT_S = 1.0  # a watch that says nothing and ends earlier counts as a failure
SPREAD_S = 1.0  # longest wait before all is listed again, at random
GONE_S = 1.0  # a deleted object counts for this long: it may be created again
START_S = 10.0  # at the start, a kind that fails is waited for at most this long
REFUSALS = frozenset({400, 401, 403, 404, 405})  # answers that will be the same if asked again soon
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Key = tuple[str, str]  # namespace, which may be empty, and name


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects.

    selector   labels that objects have to have.
    scoped     whether its objects are in namespaces.
    lingers    whether a deleted object may be followed by another one of its name, as those that people write.
    versioned  whether versions of its objects are kept, as a status needs them that is written.
    trim       what is kept of an object beside its metadata; None: all.
    """

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    selector: str = ""
    scoped: bool = True
    lingers: bool = True
    versioned: bool = False
    trim: Callable[[Thing], Thing] | None = None

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path in the API of all objects of this kind, of those of a namespace, or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at one moment.

    objects     by kind.
    namespaces  that are read; empty: all.
    failures    why kinds cannot be read, by kind.
    """

    objects: Mapping[str, Mapping[Key, Thing]]
    namespaces: frozenset[str] = frozenset()
    failures: Mapping[str, AnswerError] = field(default_factory=dict)

    def all(self, kind: str) -> list[Thing]:
        """The objects of a kind, the oldest first, so that a newer one cannot take a name from it."""
        return sorted(self.objects.get(kind, {}).values(), key=age_of)

    def find(self, kind: str, namespace: str, name: str) -> Thing | None:
        return self.objects.get(kind, {}).get((namespace, name))

    def reads(self, namespace: str) -> bool:
        """Whether objects of a namespace are known."""
        return not self.namespaces or namespace in self.namespaces


class _Watcher:
    """One kind, in one namespace or in all."""

    def __init__(self, client: KubernetesClient, kind: Kind, namespace: str, changed: Callable[[], None]) -> None:
        self.kind = kind
        self.objects: dict[Key, Thing] = {}
        self.is_listed = False
        self.failure: AnswerError | None = None
        self.failures = 0  # in a row
        self._client = client
        self._path = kind.path(namespace)
        self._changed = changed
        self._version = ""
        self._going: dict[Key, asyncio.TimerHandle] = {}

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be known soon."""
        return self.is_listed or (self.failure is not None and self.failure.status in REFUSALS)

    async def run(self) -> None:
        backoff = Backoff()
        try:
            while True:
                try:
                    if not self._version:
                        await self.list()
                        self._succeeded()
                    await self._watch(backoff)
                except Expired:
                    self._version = ""
                    await asyncio.sleep(random.uniform(0, SPREAD_S))
                except (AnswerError, TimeoutError) as error:
                    self._failed(error if isinstance(error, AnswerError) else AnswerError("it does not answer"))
                    await asyncio.sleep(backoff.next_s())
        finally:
            for timer in self._going.values():
                timer.cancel()

    def _succeeded(self) -> None:
        was = self.failure
        self.failure, self.failures = None, 0
        if was is not None:
            self._changed()

    def _failed(self, error: AnswerError) -> None:
        self.failures += 1
        # A connection that is cut is made again; it is worth a word when that fails, too.
        if not self.is_listed or error.status in REFUSALS or self.failures > 1:
            was, self.failure = self.failure, error
            if was is None or str(was) != str(error):
                self._changed()

    async def list(self) -> None:
        """Ask for all objects. Those that are gone linger, too."""
        items, version = await self._client.list(self._path, self.kind.selector)
        found = {_key(item): _trimmed(self.kind, item) for item in items}
        for key in self.objects.keys() - found.keys():
            self._remove(key)
        changed = not self.is_listed
        for key, item in found.items():
            changed |= self._put(key, item)
        self.is_listed, self._version = True, version
        if changed:
            self._changed()

    async def _watch(self, backoff: Backoff) -> None:
        """Follow what changes until the server ends that. It works when it says something, or lasts."""
        longest_s = random.randint(*WATCH_S)
        works = False

        def note() -> None:
            nonlocal works
            if not works:
                works = True
                backoff.reset()
                self._succeeded()

        async with (
            asyncio.timeout(longest_s + LATE_S),
            self._client.watch(self._path, self.kind.selector, self._version, longest_s) as events,
        ):
            timer = asyncio.get_running_loop().call_later(SHORT_S, note)
            try:
                async for type_, thing in events:
                    note()
                    self._event(type_, thing)
            finally:
                timer.cancel()
        if not works:
            raise AnswerError("a watch ended at once")

    def _event(self, type_: str, thing: Thing) -> None:
        self._version = str(mapping(thing.get("metadata")).get("resourceVersion") or self._version)
        key = _key(thing)
        if type_ == "DELETED":
            self._remove(key)
        elif type_ in ("ADDED", "MODIFIED") and self._put(key, _trimmed(self.kind, thing)):
            self._changed()

    def _put(self, key: Key, thing: Thing) -> bool:
        if (timer := self._going.pop(key, None)) is not None:
            timer.cancel()
        if self.objects.get(key) == thing:
            return False
        self.objects[key] = thing
        return True

    def _remove(self, key: Key) -> None:
        if key not in self.objects or key in self._going:
            return
        if not self.kind.lingers:
            self._drop(key)
            return
        self._going[key] = asyncio.get_running_loop().call_later(GONE_S, self._drop, key)

    def _drop(self, key: Key) -> None:
        self._going.pop(key, None)
        self.objects.pop(key, None)
        self._changed()


class _Shared:
    """A watch that several providers may use, and what ends with the last of them."""

    def __init__(self, client: KubernetesClient, kind: Kind, namespace: str) -> None:
        self.users: list[Callable[[], None]] = []
        self.client = KubernetesClient(client.provider, client.access)
        self.watcher = _Watcher(self.client, kind, namespace, self.tell)
        self.task = asyncio.create_task(self.watcher.run(), name=f"watch {kind.plural}")
        self.task.add_done_callback(lambda _: self.tell())

    def tell(self) -> None:
        for user in list(self.users):
            user()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()


class _Watches:
    """The watches of one event loop: what several providers want of one server is watched once."""

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, _Watches]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._shared: dict[tuple[Access, Kind, str], _Shared] = {}

    @classmethod
    def here(cls) -> _Watches:
        return cls._of_loops.setdefault(asyncio.get_running_loop(), cls())

    def use(self, client: KubernetesClient, kind: Kind, namespace: str, changed: Callable[[], None]) -> _Shared:
        """The watch of a kind. `changed` is called when it knows something new, until `leave`."""
        key = (client.access, kind, namespace)
        found = self._shared.get(key)
        if found is None or found.task.done():
            found = self._shared[key] = _Shared(client, kind, namespace)
        found.users.append(changed)
        return found

    async def leave(self, used: Sequence[_Shared], changed: Callable[[], None]) -> None:
        """End the use of watches, and those that nobody uses any more."""
        ended = []
        for shared in used:
            shared.users.remove(changed)
            if not shared.users:
                ended.append(shared)
                self._shared = {key: other for key, other in self._shared.items() if other is not shared}
        await asyncio.gather(*(shared.end() for shared in ended))


class Cluster:
    """The kinds that a provider needs.

    namespaces  that are read; none: all.
    """

    def __init__(self, client: KubernetesClient, kinds: Sequence[Kind], namespaces: Sequence[str]) -> None:
        self._client = client
        self._kinds = kinds
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._changed = asyncio.Event()
        self._watchers: list[_Watcher] = []

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def note(self) -> None:
        """Something has changed that is no object."""
        self._changed.set()

    def _wanted(self) -> list[tuple[Kind, str]]:
        """Kinds, and the namespaces in which they are read; empty: all."""
        return [
            (kind, namespace)
            for kind in self._kinds
            for namespace in (self._namespaces if kind.scoped and self._namespaces else [""])
        ]

    async def changes(self) -> AsyncGenerator[None, None]:
        """See Store."""
        watches, changed = _Watches.here(), self._changed.set
        used = [watches.use(self._client, kind, namespace, changed) for kind, namespace in self._wanted()]
        self._watchers = [shared.watcher for shared in used]
        try:
            await self._start()
            while True:
                yield
                await self._changed.wait()
                self._changed.clear()
                for shared in used:
                    if shared.task.done():
                        shared.task.result()
        finally:
            self._watchers = []
            await watches.leave(used, changed)

    async def _start(self) -> None:
        """Wait until all kinds are known or refused. Raises AnswerError if none is known."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while not all(watcher.is_settled for watcher in self._watchers):
                    if all(watcher.failures for watcher in self._watchers):
                        break
                    await self._changed.wait()
                    self._changed.clear()
        self.snapshot()

    def snapshot(self) -> Snapshot:
        """What is known now. Raises AnswerError if nothing can be read."""
        return _snapshot(self._watchers, self._namespaces)

    async def read(self) -> Snapshot:
        """What the watches know, or, if nothing is watched, what is there now. Raises AnswerError."""
        if self._watchers:
            return self.snapshot()
        watchers = [_Watcher(self._client, kind, namespace, self.note) for kind, namespace in self._wanted()]

        async def ask(watcher: _Watcher) -> None:
            try:
                await watcher.list()
            except Expired:
                watcher.failure = AnswerError("what it lists changes too fast")
            except AnswerError as error:
                watcher.failure = error

        async with asyncio.TaskGroup() as group:
            for watcher in watchers:
                group.create_task(ask(watcher))
        for watcher in watchers:
            if watcher.failure is not None and not watcher.is_settled:
                raise watcher.failure  # it may be read soon, and what is known without it may mislead
        return _snapshot(watchers, self._namespaces)


def _snapshot(watchers: Sequence[_Watcher], namespaces: Sequence[str]) -> Snapshot:
    failures = {watcher.kind.name: watcher.failure for watcher in watchers if watcher.failure is not None}
    if not any(watcher.is_listed and watcher.failure is None for watcher in watchers):
        known = sorted(failures.values(), key=lambda failure: failure.status == 404)
        raise known[0] if known else AnswerError("it does not answer")
    objects: dict[str, dict[Key, Thing]] = {}
    for watcher in watchers:
        if watcher.is_listed:
            objects.setdefault(watcher.kind.name, {}).update(watcher.objects)
    return Snapshot(objects, frozenset(namespaces), failures)


def failure_lines(snapshot: Snapshot, kinds: Sequence[Kind]) -> tuple[list[str], list[str]]:
    """What to say of kinds that cannot be read: problems, and warnings about those that are not installed."""
    problems, warnings = [], []
    for kind in kinds:
        failure = snapshot.failures.get(kind.name)
        if failure is None:
            continue
        if failure.status == 404 and kind.group and not snapshot.objects.get(kind.name):
            warnings.append(f"the cluster has no kind {kind.name} of {kind.group}/{kind.version}")
            continue
        known = "what was known stays" if kind.name in snapshot.objects else "the other kinds count"
        problems.append(f"{kind.plural} cannot be read: {failure}: {known}")
    return problems, warnings


def about(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an object."""
    found = thing.get("metadata")
    return found if isinstance(found, dict) else {}


def _key(thing: Mapping[str, Any]) -> Key:
    return str(about(thing).get("namespace") or ""), str(about(thing).get("name") or "")


def age_of(thing: Thing) -> tuple[str, Key]:
    """Sorts objects: the oldest first."""
    return str(about(thing).get("creationTimestamp") or ""), _key(thing)


def _trimmed(kind: Kind, thing: Thing) -> Thing:
    """An object without what takes room and says nothing."""
    metadata = dict(about(thing))
    for key in ("managedFields", "selfLink", *(() if kind.versioned else ("resourceVersion", "generation"))):
        metadata.pop(key, None)
    notes = metadata.get("annotations")
    if isinstance(notes, dict) and LAST_APPLIED in notes:
        metadata["annotations"] = {key: value for key, value in notes.items() if key != LAST_APPLIED}
    if kind.trim is None:
        return {**thing, "metadata": metadata}
    metadata.pop("annotations", None)
    return {**kind.trim(thing), "metadata": metadata}
