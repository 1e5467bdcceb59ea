"""Orders and renews the certificates that routers need, and publishes them, like the provider `acme` of Traefik.

    configuration in force ─► what is wanted ─► orders, each in a thread ─► acme.json ─► publish ─► workers

An instance runs one agent. It serves stored certificates at once. A waiting order delays neither traffic nor other
orders. Of several instances that share a storage, one orders a certificate, and the others take it from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Container, Iterable
from uuid import uuid4

from lbcore.acme.answers import Answers, SetChallenges, Sharing
from lbcore.acme.plan import NEVER, Needs, plan
from lbcore.acme.redis_storage import storage_of
from lbcore.acme.schedule import next_try
from lbcore.acme.setup import problems_of
from lbcore.acme.solving import OrderError, Stop, StoppedError
from lbcore.acme.state import Held, Job, Key, Resolver, held_of, solvers_of
from lbcore.acme.storage import Change, Hold, Signature, Storage, StorageError, StoredCertificate, StoredFailure
from lbcore.acme.threads import in_thread
from lbcore.acme.wanted import Wanted, covers, wanted
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.config.tls import Certificate, TlsConfig
from lbcore.errors import message_of
from lbcore.provider.base import Publish, Update

LOOK_S = 10.0  # between two checks of the clock and of the files
SHARED_LOOK_S = 2.0  # and of storages that other instances use, too, or that could not be reached yet
END_S = 5.0  # for running orders to remove their records, at the end of the process
ASK_AGAIN_S = 6 * 3600.0  # between two requests for renewal information, if the CA sets no interval
MOST_STORED_WAIT_S = 7 * 86400.0  # longer ones were stored while the clock was wrong
NOTHING_SEEN = -1  # the version of the answers of other instances, before the first look
BUSY_S = 3.0  # between two looks at a certificate that another instance orders
JUMP_S = 60.0  # the clock was set if it differs by more from the time that has passed

_log = logging.getLogger("lbcore.acme")
for _library in ("acme", "urllib3"):  # at DEBUG they log every byte of every request
    logging.getLogger(_library).setLevel(logging.INFO)


class AcmeAgent:
    """A provider of certificates.

    static          has the resolvers.
    set_challenges  makes the workers answer challenges.
    """

    name = "acme"

    def __init__(self, static: StaticConfig, set_challenges: SetChallenges) -> None:
        self._static = static
        self._set_challenges = set_challenges
        self._resolvers: dict[str, Resolver] = {}
        self._held: dict[Key, Held] = {}
        self._jobs: dict[Key, Job] = {}
        self._dynamic: DynamicConfig | None = None
        self._disabled: Container[str] = ()
        self._changed = asyncio.Event()
        self._stop = Stop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._owner = uuid4().hex  # names this instance in storages that others share
        self._closed: dict[str, str] = {}  # the problems of resolvers whose storage cannot be reached yet
        self._storages: dict[str, Storage] = {}  # by the text that names them
        self._sharing: dict[str, Sharing] = {}  # by the same text: an instance has one entry in a storage
        self._followers: list[asyncio.Task[None]] = []  # of the answers of other instances
        self._holds: set[Hold] = set()
        self._signatures: dict[str, Signature] = {}  # by storage, as are the next two
        self._to_store: dict[str, list[Held]] = {}
        self._storing: dict[str, asyncio.Lock] = {}  # held while it is written
        self._publish: Publish | None = None
        self._published_at = float("-inf")
        self._publish_timer: asyncio.TimerHandle | None = None  # set while a publication waits for the throttle
        self._needs: Needs | None = None  # of the configuration in force; None before the first one
        self._own_texts: set[str] = set()  # all certificates that this agent has served
        self._clock_offset = time.time() - time.monotonic()

    # As a provider

    def reload(self) -> None:
        """Read the storage again, and ask the CAs when to renew."""
        self._signatures.clear()
        for held in self._held.values():
            held.ask_again = 0.0
        self._changed.set()

    async def run(self, publish: Publish) -> None:
        """Publish the stored certificates, then order the wanted ones, until cancelled."""
        self._publish = publish
        loop = asyncio.get_running_loop()
        answers = Answers(loop, self._set_challenges)
        await self._open(answers)
        self._schedule_publish()
        try:
            while True:
                self._follow_clock()
                self._plan_anew()
                self._start()
                self._ask()
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._changed.wait()
                for hold in list(self._holds):
                    await in_thread(hold.keep)
                await self._open_closed(answers)
                await self._look_at_storages()
                await self._store_again()
        finally:
            self._stop.set()
            for follower in self._followers:
                follower.cancel()
            if self._publish_timer is not None:
                self._publish_timer.cancel()
                self._publish_timer = None
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=END_S)

    def configured(self, dynamic: DynamicConfig, disabled: Container[str] = ()) -> None:
        """Follow a merged configuration that came into force. `disabled`: names of its routers that cannot run."""
        self._dynamic, self._disabled, self._needs = dynamic, disabled, None
        self._changed.set()

    def renew(self, names: Iterable[str] = ()) -> list[tuple[str, ...]]:
        """Order the certificates that serve any of `names` now, or all, and end their back-off. Returns their names."""
        asked = {name.lower() for name in names}
        found = []
        for job in self._jobs.values():
            if not asked or any(covers(job.wanted.names, [name]) for name in asked):
                job.forced, job.not_before = True, 0.0
                found.append(job.wanted.names)
        self._changed.set()
        return found

    # What is stored

    async def _open(self, answers: Answers) -> None:
        broken = {}
        for problem in await in_thread(problems_of, self._static):
            _log.error("%s: the resolver is left out", problem)
            broken[problem.path.rpartition(".")[2]] = problem
        for name, resolver in self._static.certificates_resolvers.items():
            if resolver.acme is not None and not resolver.faults and name not in broken:
                self._closed[name] = ""
        await self._open_closed(answers)

    async def _open_closed(self, answers: Answers) -> None:
        """Open the resolvers whose storage has not been reached yet."""
        for name, problem in list(self._closed.items()):
            try:
                await self._open_resolver(name, answers)
            except StorageError as error:
                if not error.is_away:
                    _log.error("certificatesResolvers.%s: %s: the resolver is left out", name, error)
                    del self._closed[name]
                elif str(error) != problem:
                    _log.error("certificatesResolvers.%s: %s: trying again", name, error)
                    self._closed[name] = str(error)
            else:
                del self._closed[name]

    async def _open_resolver(self, name: str, answers: Answers) -> None:
        acme = self._static.certificates_resolvers[name].acme
        assert acme is not None
        known = self._storages.get(acme.storage)
        storage = known if known is not None else storage_of(acme.storage)
        await in_thread(storage.open)
        if known is None and storage.is_shared:
            # Before the entry points listen: others wait for this instance before they let a CA ask any of them.
            await in_thread(storage.acknowledge, self._owner, NOTHING_SEEN)
        failures = await in_thread(storage.failures, name)
        signature = await in_thread(storage.signature)
        found = Resolver(name, acme, storage)
        if storage.is_shared and acme.storage not in self._sharing:
            self._sharing[acme.storage] = Sharing(storage, self._owner)
        found.solvers = solvers_of(acme, answers, self._sharing.get(acme.storage))
        self._resolvers[name] = found
        if await self._load(found) and self._published_at >= 0:
            self._schedule_publish()
        for failure in failures:
            job = Job(Wanted(name, failure.names, "the storage"), failures=failure.count)
            job.not_before = min(failure.not_before, time.time() + MOST_STORED_WAIT_S)
            self._jobs[name, frozenset(failure.names)] = job
        self._signatures.setdefault(storage.place, signature)  # what another resolver has read last may be older
        if known is None:
            self._storages[acme.storage] = storage
            if storage.is_shared:
                self._followers.append(asyncio.create_task(answers.follow(storage, self._owner)))

    async def _load(self, resolver: Resolver) -> bool:
        """Read the stored certificates. Returns whether any is new."""
        try:
            stored = await in_thread(resolver.storage.certificates, resolver.name)
        except StorageError as error:
            _log.error("resolver %s: %s", resolver.name, error)
            return False
        found = {}
        for entry in stored:
            held = held_of(resolver.name, entry)
            if held is None:
                text = "resolver %s: the certificate for %s in %s cannot be used"
                _log.error(text, resolver.name, ", ".join(entry.names), resolver.storage.place)
                continue
            key = resolver.name, frozenset(entry.names)
            known = self._held.get(key)
            found[key] = known if known is not None and known.stored == held.stored else held
        before = {key: held for key, held in self._held.items() if key[0] == resolver.name}
        found |= {key: held for key, held in before.items() if not held.stored_yet}
        if before == found:
            return False
        for key in before:
            del self._held[key]
        self._held |= found
        return True

    async def _look_at_storages(self) -> None:
        """Read certificates that another process has stored."""
        news = False
        for storage in self._storages.values():
            signature = await in_thread(storage.signature)
            if signature and signature != self._signatures.get(storage.place):
                self._signatures[storage.place] = signature
                for resolver in [each for each in self._resolvers.values() if each.storage is storage]:
                    news |= await self._load(resolver)
        if news:
            self._schedule_publish()

    def _schedule_publish(self) -> None:
        """Publish the certificates at once, or as soon as `providersThrottleDuration` allows it."""
        loop = asyncio.get_running_loop()
        if self._publish_timer is None:
            throttle_s = self._static.providers.providers_throttle_duration.total_seconds()
            rest_s = self._published_at + throttle_s - loop.time()
            if rest_s > 0:
                self._publish_timer = loop.call_later(rest_s, self._publish_now)
            else:
                self._publish_now()

    def _publish_now(self) -> None:
        assert self._publish is not None
        self._published_at, self._publish_timer = asyncio.get_running_loop().time(), None
        self._own_texts |= {held.stored.certificate for held in self._held.values()}
        certificates = [
            Certificate(certificate_text=held.stored.certificate, key_text=held.stored.key)
            for held in self._held.values()
        ]
        config = DynamicConfig(tls=TlsConfig(certificates=certificates)) if certificates else DynamicConfig()
        self._publish(Update(self.name, config))

    # What is wanted

    def _plan_anew(self) -> None:
        """Compute the jobs: one for each wanted certificate, with its due time."""
        if self._dynamic is None:
            return
        if self._needs is None:
            asked = wanted(self._dynamic, self._static, self._disabled)
            self._needs = Needs.of(asked, self._dynamic, self._own_texts)
        self._jobs = plan(self._needs, self._resolvers, self._held, self._jobs, self._complain)

    def _complain(self, job: Job, text: str) -> None:
        """Log a problem of a job, once."""
        if job.complaint != text:
            job.complaint = text
            _log.error("resolver %s: %s (%s)", job.wanted.resolver, text, job.wanted.user)

    def _follow_clock(self) -> None:
        """Shift the ends of waits if the clock was set, so that they last as long as they were to."""
        offset = time.time() - time.monotonic()
        jump_s = offset - self._clock_offset
        self._clock_offset = offset
        if abs(jump_s) < JUMP_S:
            return
        _log.warning("the clock was set %s by %s", "ahead" if jump_s > 0 else "back", _time(abs(jump_s)))
        for job in self._jobs.values():
            if job.not_before != NEVER:
                job.not_before += jump_s
        for resolver in self._resolvers.values():
            resolver.not_before += jump_s
        for held in self._held.values():
            held.ask_again += jump_s

    def _rest_s(self) -> float:
        now = time.time()
        times = [job.at - now for job in self._jobs.values() if not job.running]
        is_shared = self._closed or any(storage.is_shared for storage in self._storages.values())
        look_s = SHARED_LOOK_S if is_shared else LOOK_S
        return min(max(min(times, default=look_s), 0.05), look_s)

    # Orders

    def _start(self) -> None:
        now, steady = time.time(), time.monotonic()
        for key, job in self._jobs.items():
            resolver = self._resolvers[job.wanted.resolver]
            if job.running or job.at > now or resolver.slots.locked() or resolver.not_before > now:
                continue
            if not resolver.may_order(self._held.get(key), steady):
                continue
            job.running, job.forced = True, False
            task = asyncio.create_task(self._order(key, job, resolver))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _order(self, key: Key, job: Job, resolver: Resolver) -> None:
        async with resolver.slots:
            names = ", ".join(job.wanted.names)
            old = self._held.get(key)
            hold: Hold | None = None
            try:
                hold = await in_thread(resolver.storage.hold, f"{resolver.name}: {' '.join(sorted(job.wanted.names))}")
                if hold is None:
                    _log.debug("resolver %s: another instance orders a certificate for %s", resolver.name, names)
                    job.not_before = time.time() + BUSY_S
                    return
                self._holds.add(hold)
                if await self._done_by_others(key, job, resolver):
                    return
                _log.info("resolver %s: ordering a certificate for %s (%s)", resolver.name, names, job.wanted.user)
                stored = await in_thread(self._ordered, resolver, job.wanted.names, old)
                held = held_of(resolver.name, stored)
                if held is None:
                    raise OrderError("what was issued is no certificate for the key")
                held.stored_yet = False
                self._held[key] = held
                before, job.failures, job.not_before, job.complaint = job.failures, 0, 0.0, ""
                ends = held.certificate.not_valid_after_utc
                _log.info("resolver %s: a certificate for %s, until %s", resolver.name, names, f"{ends:%Y-%m-%d %H:%M}")
                if held.due(resolver.settings.certificates_duration) <= time.time():
                    self._due_at_once(job, resolver, before)
                self._schedule_publish()
                await self._store(resolver, held)
            except StoppedError:
                pass
            except Exception as error:
                self._failed(job, resolver, error)
                await self._keep_failures(resolver)
            finally:
                if hold is not None:
                    self._holds.discard(hold)
                    await in_thread(hold.release)
                job.running = False
                self._changed.set()

    async def _done_by_others(self, key: Key, job: Job, resolver: Resolver) -> bool:
        """Whether another instance has ordered a certificate meanwhile, or has failed, so that it is too early."""
        now = time.time()
        for entry in await in_thread(resolver.storage.certificates, resolver.name):
            if frozenset(entry.names) == key[1]:
                held, old = held_of(resolver.name, entry), self._held.get(key)
                is_new = held is not None and (old is None or old.stored != entry)
                if held is not None and is_new and held.due(resolver.settings.certificates_duration) > now:
                    self._held[key] = held
                    job.failures, job.not_before, job.complaint = 0, 0.0, ""
                    self._schedule_publish()
                    return True
        for failure in await in_thread(resolver.storage.failures, resolver.name):
            if frozenset(failure.names) == key[1] and failure.count > job.failures and failure.not_before > now:
                job.failures, job.not_before = failure.count, min(failure.not_before, now + MOST_STORED_WAIT_S)
                return True
        return False

    # When to renew, as the CA says (RFC 9773)

    def _ask(self) -> None:
        """Start a request to each CA whose next one is due."""
        now = time.time()
        for resolver in self._resolvers.values():
            due = [held for held in self._held.values() if held.resolver == resolver.name and held.ask_again <= now]
            if due and not resolver.asking:
                resolver.asking = True
                task = asyncio.create_task(self._take_suggestions(resolver, due))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _take_suggestions(self, resolver: Resolver, held: list[Held]) -> None:
        mark = time.time() + ASK_AGAIN_S
        for each in held:
            each.ask_again = mark
        try:
            found = await in_thread(self._suggestions, resolver, held)
        except Exception as error:
            found = {}
            _log.debug("resolver %s: the CA does not say when to renew", resolver.name, exc_info=error)
        finally:
            resolver.asking = False
        now = time.time()
        for each in held:
            window, again_s = found.get(each, (each.window, ASK_AGAIN_S))
            each.suggest(window)
            if each.ask_again == mark:  # no earlier request was asked for meanwhile
                each.ask_again = now + again_s
        self._changed.set()

    def _suggestions(
        self, resolver: Resolver, held: list[Held]
    ) -> dict[Held, tuple[tuple[float, float] | None, float]]:
        """The suggested windows, and the seconds until the next request. Blocks. Raises OrderError and StoppedError."""
        found: dict[Held, tuple[tuple[float, float] | None, float]] = {}
        connection = resolver.authority.connect(registers=False)
        try:
            for each in held:
                self._stop.check()
                if each.ends < time.time():
                    continue  # an expired certificate has no renewal information
                suggestion = connection.renewal_window(each.certificate)
                if suggestion is None:
                    found[each] = None, ASK_AGAIN_S
                else:
                    begins, ends, again_s = suggestion
                    found[each] = (begins.timestamp(), max(ends, begins).timestamp()), again_s
        finally:
            connection.close()
        return found

    def _ordered(self, resolver: Resolver, names: tuple[str, ...], old: Held | None) -> StoredCertificate:
        """Order a certificate. Blocks. Raises OrderError, StorageError and StoppedError."""
        replaces = old.certificate if old is not None else None
        for attempt in (1, 2):
            connection = resolver.authority.connect()
            try:
                return connection.order(names, resolver.solvers, self._stop, replaces)
            except OrderError as error:
                if attempt == 2 or error.code != "accountDoesNotExist":
                    raise
                _log.warning("resolver %s: the CA does not know the account: registering it again", resolver.name)
                resolver.authority.forget()
            finally:
                connection.close()
        raise AssertionError("unreachable")

    def _failed(self, job: Job, resolver: Resolver, error: Exception) -> None:
        job.failures += 1
        asked_s = error.wait_s if isinstance(error, OrderError) else 0.0
        wait_s = next_try(job.failures, resolver.settings.retry_delay.total_seconds(), asked_s)
        job.not_before = time.time() + wait_s
        if asked_s:
            resolver.not_before = max(resolver.not_before, time.time() + asked_s)
        names = ", ".join(job.wanted.names)
        reason = message_of(error)
        served = [held.ends for held in self._held.values() if covers(held.names, job.wanted.names)]
        if served:
            reason += f" (the one that is served ends in {_time(max(served) - time.time())})"
        text = "resolver %s: no certificate for %s, trying again in %s: %s"
        _log.error(text, resolver.name, names, _time(wait_s), reason)
        if not isinstance(error, OrderError | StorageError):
            _log.debug("an order failed by an error of lbcore's own", exc_info=error)

    def _due_at_once(self, job: Job, resolver: Resolver, failures: int) -> None:
        """Wait as after one more failure: what is due as soon as it was issued would be ordered without end."""
        job.failures = failures + 1
        wait_s = next_try(job.failures, resolver.settings.retry_delay.total_seconds())
        job.not_before = time.time() + wait_s
        text = "resolver %s: the new certificate for %s is due for renewal already, next one in %s: is the clock right?"
        _log.error(text, resolver.name, ", ".join(job.wanted.names), _time(wait_s))

    async def _store(self, resolver: Resolver, held: Held) -> None:
        """Store a certificate. Those that come while the file is being written are written together."""
        place = resolver.storage.place
        waiting = self._to_store.setdefault(place, [])
        waiting.append(held)
        async with self._storing.setdefault(place, asyncio.Lock()):
            added = [*waiting]
            waiting.clear()
            if added:
                await self._store_all(resolver.storage, added)
        if held.stored_yet:
            await self._keep_failures(resolver)

    async def _store_again(self) -> None:
        """Store what could not be stored when it came."""
        for held in [held for held in self._held.values() if not held.stored_yet]:
            resolver = self._resolvers.get(held.resolver)
            if resolver is None or any(held in waiting for waiting in self._to_store.values()):
                continue
            if await in_thread(resolver.storage.signature):  # it can be reached
                await self._store(resolver, held)

    async def _store_all(self, storage: Storage, added: list[Held]) -> None:
        try:
            change = await in_thread(storage.add_certificates, [(held.resolver, held.stored) for held in added])
        except StorageError as error:
            text = "resolver %s: the certificate for %s is served, but not stored: %s"
            for held in added:
                _log.error(text, held.resolver, ", ".join(held.stored.names), error)
            return
        self._has_changed(storage, change)
        for held in added:
            held.stored_yet = True

    async def _keep_failures(self, resolver: Resolver) -> None:
        failures = [
            StoredFailure(job.wanted.names, job.failures, job.not_before)
            for job in self._jobs.values()
            if job.wanted.resolver == resolver.name and job.failures and job.not_before != NEVER
        ]
        try:
            change = await in_thread(resolver.storage.set_failures, resolver.name, failures)
        except StorageError as error:
            _log.error("resolver %s: %s", resolver.name, error)
        else:
            self._has_changed(resolver.storage, change)

    def _has_changed(self, storage: Storage, change: Change) -> None:
        """Follow a change by this agent, which need not read it. What others have stored before it stays to be read."""
        if self._signatures.get(storage.place) == change.before:
            self._signatures[storage.place] = change.after


def _time(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"
