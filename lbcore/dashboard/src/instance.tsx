// The instance: the last reload and what it changed, providers, workers.

import type { JSX } from "preact";

import { count, lasting, moment, percent } from "./format";
import { State } from "./icons";
import { Empty, Heading, NodeLink } from "./parts";
import type { Condition } from "./state";
import { hello, info, time, totals } from "./store";
import type { Change, Provider } from "./types";

const GIVES: Condition = { word: "gives", shape: "dot", tone: "well", about: "Its last configuration was read." };
const FAILS: Condition = { word: "fails", shape: "cross", tone: "bad", about: "It could not be read the last time; what it gave before is in force." };
const COMPLAINS: Condition = { word: "incomplete", shape: "triangle", tone: "warn", about: "A part of what it gives cannot be used." };
const RUNS: Condition = { word: "running", shape: "dot", tone: "well", about: "It serves." };

function ofProvider(provider: Provider): Condition {
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

export function InstanceView(): JSX.Element {
  const known = info.value;
  if (!known || !hello.value) return <Empty>Loading…</Empty>;
  const { reload } = known;
  const shed = [
    ["connections refused for want of room", known.connectionsShed],
    ["lines of the log lost", known.logLinesLost],
    ["lines of the access log lost", known.accessLogLinesLost],
  ].filter(([, value]) => !!value) as [string, number][];
  return (
    <>
      <Heading>Instance</Heading>
      <p>
        lbcore {hello.value.version}, up for {lasting(time.value - hello.value.started)}, since {moment(hello.value.started)}
        {known.tls && <>; TLS by {known.tls}</>}.
      </p>
      {shed.map(([what, value]) => (
        <p class="problem" key={what}>
          {count(value)} {what}.
        </p>
      ))}
      <section>
        <h2>Last reload</h2>
        <p>
          Configuration {count(reload.generation)} is in force.{" "}
          {reload.lastSuccess === null ? "None was in force as it is written so far." : `The last one that is in force as it is written came at ${moment(reload.lastSuccess)}.`}
          {reload.failures > 0 && ` ${count(reload.failures)} had ${reload.failures === 1 ? "a problem" : "problems"}, the last at ${moment(reload.lastFailure)}.`}
        </p>
        {reload.refused.map((text) => (
          <p class="problem" key={text}>
            Refused, the one before is in force: {text}
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
                  {provider.problems.map((text) => (
                    <span class="cause" key={text}>
                      {text}
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
    </>
  );
}
