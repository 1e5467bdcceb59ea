// The instance: its log, ping and end, the last reload and what it changed, providers, workers, memory.

import type { JSX } from "preact";

import { useState } from "preact/hooks";

import { LogLevelActions, PingActions, StopActions } from "./actions";
import { count, counted, lasting, memory as size, moment, percent } from "./format";
import { State } from "./icons";
import { Empty, Heading, NodeLink } from "./parts";
import type { Condition } from "./state";
import { ask, connection, hello, info, time, totals } from "./store";
import type { Change, Info, Memory, Provider } from "./types";

const GIVES: Condition = { word: "read", shape: "dot", tone: "well", about: "Its last configuration was read." };
const AWAY: Condition = { word: "cannot be read", shape: "broken", tone: "bad", about: "It could not be read the last time; what it gave before is in force." };
const NEVER: Condition = { ...AWAY, about: "It could not be read so far: nothing of it runs." };
const FAILS: Condition = { word: "refused", shape: "cross", tone: "bad", about: "What it gave the last time cannot be used; what it gave before is in force." };
const COMPLAINS: Condition = { word: "incomplete", shape: "triangle", tone: "warn", about: "A part of what it gives cannot be used." };
const RUNS: Condition = { word: "running", shape: "dot", tone: "well", about: "It serves." };

function ofProvider(provider: Provider): Condition {
  if (!provider.readable) return provider.lastSuccess === null ? NEVER : AWAY;
  const failed = provider.lastFailure !== null && (provider.lastSuccess === null || Date.parse(provider.lastFailure) > Date.parse(provider.lastSuccess));
  return failed ? FAILS : provider.problems.length ? COMPLAINS : GIVES;
}

function Changes({ change }: { change: Change }): JSX.Element {
  const part = (title: string, sign: string, ids: string[], all: number) =>
    all > 0 && (
      <div>
        <h3>
          <span aria-hidden="true">{sign}</span> {title} <span class="muted">{count(all)}</span>
        </h3>
        <ul class="plain">
          {ids.map((id) => (
            <li key={id}>
              <span class="muted">{kindOf(id)}</span> <NodeLink id={id} />
            </li>
          ))}
          {all > ids.length && <li class="muted">and {count(all - ids.length)} more</li>}
        </ul>
      </div>
    );
  const { added, removed, changed } = change.counts;
  if (!added && !removed && !changed) return <p>It changed no object.</p>;
  return (
    <div class="changes">
      {part("Added", "+", change.added, added)}
      {part("Changed", "~", change.changed, changed)}
      {part("Removed", "−", change.removed, removed)}
    </div>
  );
}

function kindOf(id: string): string {
  const parts = id.split("/");
  return parts[0] === "entrypoints" ? "entry point" : `${parts[0] === "http" ? "" : `${parts[0]!.toUpperCase()} `}${parts[1]!.replace(/s$/, "")}`;
}

/** What the static configuration has turned on. */
function Features({ of }: { of: Info["features"] }): JSX.Element {
  const list = (all: string[], none: string) => all.join(", ") || none;
  const facts: [string, string][] = [
    ["Access log", of.accessLog ? "on" : "off"],
    ["Metrics", list(of.metrics, "off")],
    ["Tracing", of.tracing ? "on" : "off"],
    ["Explanations in answers", of.explain ? "on" : "off"],
    ["Certificate resolvers", list(of.certificatesResolvers, "none")],
    ["OCSP", of.ocsp ? "on" : "off"],
  ];
  return (
    <section>
      <h2>Features</h2>
      <dl class="facts">
        {facts.map(([title, value]) => (
          <div key={title}>
            <dt>{title}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

/** The log, the ping, the end: what they are now, and what changes them. */
function Operation({ of }: { of: Info }): JSX.Element | null {
  const { log, ping, end } = of;
  if (!log && !ping && !end) return null;
  return (
    <section>
      <h2>Operation</h2>
      <dl class="facts">
        {log && (
          <div>
            <dt>Level of the log</dt>
            <dd>
              {log.level}
              <span class="muted">{log.overridden ? ` ${log.until ? `until ${moment(log.until)}` : "until it is reset"}, configured: ${log.configured}` : " as configured"}</span>
              <LogLevelActions of={log} />
            </dd>
          </div>
        )}
        {ping && (
          <div>
            <dt>Answer to /ping</dt>
            <dd>
              {ping.status}
              {ping.failsSince && <span class="muted"> by hand, since {moment(ping.failsSince)}, set by {ping.failedBy}</span>}
              {ping.stopping && <span class="muted"> while lbcore is stopping</span>}
              <PingActions of={ping} />
            </dd>
          </div>
        )}
        {end && (
          <div>
            <dt>Process</dt>
            <dd>
              {end.stopping ? "stopping" : "running"}
              <StopActions of={end} />
            </dd>
          </div>
        )}
      </dl>
      {!hello.value?.writable && <p class="muted">Read-only: set <code>api.token</code> to change this here.</p>}
    </section>
  );
}

/** The memory of each process, read when somebody asks. */
function MemoryPart(): JSX.Element {
  const [found, setFound] = useState<Memory>();
  const [problem, setProblem] = useState("");
  const [reading, setReading] = useState(false);
  const read = async () => {
    setReading(true);
    try {
      setFound(await ask<Memory>("memory"));
      setProblem("");
    } catch (error) {
      setProblem((error as Error).message);
    }
    setReading(false);
  };
  const shown = (value: number | null | undefined) => (value === null || value === undefined ? "–" : size(value));
  return (
    <section class="memory">
      <h2>Memory</h2>
      <p class="actions">
        <button type="button" disabled={reading || connection.value !== "live"} onClick={read}>
          {found ? "Read memory again" : "Read memory"}
        </button>
      </p>
      {problem && <p class="problem">{problem}</p>}
      {found && (
        <>
          <p>
            {found.totalBytes === null ? "The kernel does not tell how much it is in all" : `${size(found.totalBytes)} in all`}, at {moment(found.time)}.{" "}
            {size(found.shared.residentBytes)} of that is shared by all processes, for {count(found.shared.services.used)} routers and services and{" "}
            {count(found.shared.servers.used)} servers or members. Kept bodies of requests take {size(found.shared.bodies.usedBytes)} of at most{" "}
            {size(found.shared.bodies.mostBytes)}. {count(found.queues.waiting)} of at most {count(found.queues.most)} requests wait in{" "}
            {counted(found.queues.count, "queue")}.
          </p>
          <table class="list">
            <caption class="sr">Memory</caption>
            <thead>
              <tr>
                <th scope="col">Process</th>
                <th scope="col" class="number">Proportional</th>
                <th scope="col" class="number">Resident</th>
                <th scope="col" class="number">Private</th>
                <th scope="col" class="number">Heap free</th>
                <th scope="col" class="number">Kept for reuse</th>
                <th scope="col" class="number">Clients</th>
              </tr>
            </thead>
            <tbody>
              {found.processes.map((each) => (
                <tr key={each.pid}>
                  <td class="of-name">
                    {each.name} <span class="muted">{each.pid}</span>
                    {each.problem && <span class="cause">{each.problem}</span>}
                  </td>
                  <td class="number" data-title="Proportional">{shown(each.proportionalBytes)}</td>
                  <td class="number" data-title="Resident">{shown(each.residentBytes)}</td>
                  <td class="number" data-title="Private">{shown(each.privateBytes)}</td>
                  <td class="number" data-title="Heap free">{shown(each.heap?.freeBytes)}</td>
                  <td class="number" data-title="Kept for reuse">{shown(each.kept && each.kept.bufferBytes + each.kept.blockBytes)}</td>
                  <td class="number" data-title="Clients">{each.connections ? count(each.connections.clients) : "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  );
}

export function InstanceView(): JSX.Element {
  const known = info.value;
  if (!known || !hello.value) return <Empty>Loading…</Empty>;
  const { reload } = known;
  const { fleet } = known;
  // Whether that goes on is told by the problems; here stands how much it was in all.
  const shed = [
    ["idle connection", "closed for want of descriptors", known.connectionsShed],
    ["line", "of the log lost", known.logLinesLost],
    ["line", "of the access log lost", known.accessLogLinesLost],
  ].filter(([, , value]) => !!value) as [string, string, number][];
  // Of a source that cannot be read nothing was refused: its row says so.
  const away = new Set(known.providers.filter((each) => !each.readable).flatMap((each) => each.problems));
  const stays = reload.inForce ? "the one before is in force" : "nothing of it runs";
  return (
    <>
      <Heading>Instance</Heading>
      <p>
        lbcore {hello.value.version}, up for {lasting(time.value - hello.value.started)}, since {moment(hello.value.started)}
        {known.tls && <>; TLS by {known.tls}</>}.
      </p>
      {shed.map(([thing, what, value]) => (
        <p class="problem" key={what}>
          {counted(value, thing)} {what}.
        </p>
      ))}
      <Features of={known.features} />
      <Operation of={known} />
      <section>
        <h2>Last reload</h2>
        <p>
          Configuration {count(reload.generation)} is in force.{" "}
          {reload.lastSuccess === null ? "None was without problems so far." : `The last one without problems came at ${moment(reload.lastSuccess)}.`}
          {reload.failures > 0 && ` ${counted(reload.failures, "configuration")} had problems, the last one at ${moment(reload.lastFailure)}.`}
        </p>
        {reload.refused.filter((text) => !away.has(text)).map((text) => (
          <p class="problem" key={text}>
            Refused, {stays}: {text}
          </p>
        ))}
        {reload.kept.map((each) => (
          <p class="problem" key={`${each.kind} ${each.name}`}>
            {each.kind} {each.name} runs in the version before: {each.errors.join("; ")}
          </p>
        ))}
        {reload.last ? <Changes change={reload.last} /> : <p class="muted">It is the first one since the start.</p>}
      </section>
      <section>
        <h2>Providers</h2>
        <table class="list">
          <caption class="sr">Providers</caption>
          <thead>
            <tr>
              <th scope="col">Provider</th>
              <th scope="col">State</th>
              <th scope="col" class="number">Objects</th>
              <th scope="col">Last read</th>
              <th scope="col" class="number">Failures</th>
            </tr>
          </thead>
          <tbody>
            {known.providers.map((provider) => (
              <tr key={provider.name}>
                <td class="of-name">
                  <strong>{provider.name}</strong>
                </td>
                <td data-title="State">
                  <State of={ofProvider(provider)} />
                  {!provider.readable && <span class="cause">{ofProvider(provider).about}</span>}
                  {provider.problems.map((text) => (
                    <span class="cause" key={text}>
                      {text.replace(`provider ${provider.name}: `, "")}
                    </span>
                  ))}
                </td>
                <td class="number" data-title="Objects">{count(provider.objects)}</td>
                <td data-title="Last read">{moment(provider.lastSuccess)}</td>
                <td class="number" data-title="Failures">{count(provider.failures)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {fleet && (
        <section>
          <h2>Fleet</h2>
          <p>
            {counted(fleet.instances, "instance")} of the fleet {fleet.name} {fleet.instances === 1 ? "lives" : "live"}, this one among them.
          </p>
          {fleet.problem && <p class="problem">{fleet.problem}</p>}
          {fleet.shed > 0 && <p class="problem">{counted(fleet.shed, "hint or weight", "hints and weights")} could not be told for want of room.</p>}
        </section>
      )}
      <section>
        <h2>Workers</h2>
        <table class="list">
          <caption class="sr">Workers</caption>
          <thead>
            <tr>
              <th scope="col">Worker</th>
              <th scope="col">State</th>
              <th scope="col" class="number">Process</th>
              <th scope="col" class="number">Configuration</th>
              <th scope="col" class="number">CPU</th>
            </tr>
          </thead>
          <tbody>
            {known.workers.map((worker, place) => {
              const load = totals.value.cpuWorkers?.[place];
              return (
                <tr key={worker.index}>
                  <td class="of-name">{worker.index}</td>
                  <td data-title="State">
                    <State of={worker.state === "running" ? RUNS : { ...RUNS, word: worker.state, shape: "triangle", tone: "warn", about: "It does not serve now." }} />
                  </td>
                  <td class="number" data-title="Process">{worker.pid}</td>
                  <td class="number" data-title="Configuration">{worker.generation}</td>
                  <td class="number" data-title="CPU">{load === undefined ? "–" : percent(load)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </section>
      <MemoryPart />
    </>
  );
}
