// What is open: connections, streams, tunnels, sessions of UDP. Asked for when the view is opened, filtered or refreshed.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { closeSessions } from "./actions";
import { bytes, clock, count, counted, lasting } from "./format";
import { Sign } from "./icons";
import { Choice, Empty, Entry, Heading, NodeLink } from "./parts";
import { amend, route } from "./route";
import { ask, byKind, connection, hello } from "./store";
import type { Layer } from "./types";

const FILTERS = ["kind", "entrypoint", "router", "service", "server", "client"];
const LIMIT = 200; // rows
const SETTLE_MS = 400; // after the last letter of a filter
const KINDS: [string, string][] = [
  ["http1", "HTTP/1"],
  ["http2", "HTTP/2"],
  ["http3", "HTTP/3"],
  ["stream", "stream"],
  ["upgrade", "upgraded"],
  ["tcp", "TCP"],
  ["udp", "UDP"],
  ["handshake", "handshake"],
];
const NAMES = new Map(KINDS);

interface Session {
  id: string;
  kind: string;
  client: string;
  entryPoint: string;
  tls: boolean;
  ageMs: number;
  idleMs?: number;
  bytesIn: number;
  bytesOut: number;
  streams?: number;
  requests?: number;
  router?: string;
  service?: string;
  server?: string;
}

interface Listed {
  sessions: Session[];
  found: number;
  silent: number[];
}

function layerOf(session: Session): Layer {
  return session.kind === "tcp" || session.kind === "udp" ? session.kind : "http";
}

export function SessionsView(): JSX.Element {
  const { query } = route.value;
  const [listed, setListed] = useState<Listed | null>(null);
  const [at, setAt] = useState(0);
  const [problem, setProblem] = useState("");
  const [turn, setTurn] = useState(0);
  const filters = Object.fromEntries(FILTERS.filter((key) => query[key]).map((key) => [key, query[key]!]));
  const order = query["order"] === "oldest" ? "oldest" : "newest";
  const asked = new URLSearchParams({ ...filters, order, limit: String(LIMIT) }).toString();
  useEffect(() => {
    let stopped = false;
    const timer = setTimeout(
      () =>
        ask<Listed>(`sessions?${asked}`).then(
          (found) => {
            if (stopped) return;
            setListed(found);
            setAt(Date.now());
            setProblem("");
          },
          (error: Error) => !stopped && setProblem(error.message),
        ),
      listed ? SETTLE_MS : 0,
    );
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [asked, turn]);
  const again = () => setTurn((before) => before + 1);
  const words = Object.entries(filters).map(([key, value]) => `${key} ${value}`).join(", ");
  const writable = hello.value?.writable;
  return (
    <>
      <Heading aside={at > 0 && <span class="muted">as of {clock(at)}</span>}>Sessions</Heading>
      <div class="tools">
        <Choice label="Kind" name="kind" options={KINDS} />
        <Choice label="Entry point" name="entrypoint" options={byKind.value.entrypoint.map((each) => [each.name, each.name])} />
        <Entry label="Router" name="router" placeholder="shop@file" />
        <Entry label="Service" name="service" placeholder="shop@file" />
        <Entry label="Server" name="server" placeholder="http://10.0.0.1:80" />
        <Entry label="Client" name="client" placeholder="10.0.0.0/8" />
        <label class="choice">
          <span>First</span>
          <select value={order} onChange={(event) => amend({ order: event.currentTarget.value })}>
            <option value="newest" selected={order === "newest"}>the latest</option>
            <option value="oldest" selected={order === "oldest"}>the oldest</option>
          </select>
        </label>
        <button type="button" onClick={again}>
          Refresh
        </button>
        {writable && words && listed && listed.found > 0 && (
          <button
            type="button"
            disabled={connection.value !== "live"}
            onClick={() => closeSessions(`Close ${counted(listed.found, "session")}`, `All with ${words}. Requests under way end with 502, or are broken off. Clients may come again.`, filters, again)}
          >
            Close all of them…
          </button>
        )}
      </div>
      {!writable && hello.value && <p class="muted">Read-only: set <code>api.token</code> to close sessions here.</p>}
      {problem && (
        <p class="problem" role="alert">
          <Sign shape="triangle" /> {problem}
        </p>
      )}
      {listed?.silent.length ? (
        <p class="problem">
          <Sign shape="triangle" /> {listed.silent.length === 1 ? "Worker" : "Workers"} {listed.silent.join(", ")} did not answer: what is open there is missing.
        </p>
      ) : null}
      {!listed && !problem && <Empty>Loading…</Empty>}
      {listed && (
        <p class="muted" role="status">
          {counted(listed.found, "session")}
          {listed.found > listed.sessions.length && `; the ${order === "oldest" ? "oldest" : "latest"} ${count(listed.sessions.length)} are shown`}
        </p>
      )}
      {listed && listed.sessions.length > 0 && (
        <table class="list">
          <caption class="sr">Open sessions</caption>
          <thead>
            <tr>
              <th scope="col">Session</th>
              <th scope="col">Client</th>
              <th scope="col">Entry point</th>
              <th scope="col">Router, service, server</th>
              <th scope="col" class="number">Age</th>
              <th scope="col" class="number">Idle</th>
              <th scope="col" class="number">In · out</th>
              {writable && <th scope="col">Change</th>}
            </tr>
          </thead>
          <tbody>
            {listed.sessions.map((each) => (
              <tr key={each.id}>
                <td class="of-name">
                  <code>{each.id}</code> <span class="tag">{NAMES.get(each.kind) ?? each.kind}</span>
                  {each.tls && <span class="tag">TLS</span>}
                  <span class="names">{[each.streams !== undefined && counted(each.streams, "stream"), each.requests && `${counted(each.requests, "request")} so far`].filter(Boolean).join(", ")}</span>
                </td>
                <td data-title="Client">{each.client || <span class="muted">local</span>}</td>
                <td data-title="Entry point">
                  <NodeLink id={`entrypoints/${each.entryPoint}`} />
                </td>
                <td data-title="Router, service, server" class="of-service">
                  <span class="links">
                    {each.router && <NodeLink id={`${layerOf(each)}/routers/${each.router}`} />}
                    {each.service && <NodeLink id={`${layerOf(each)}/services/${each.service}`} />}
                    {each.server && <span class="muted">{each.server}</span>}
                    {!each.router && !each.server && <span class="muted">–</span>}
                  </span>
                </td>
                <td class="number" data-title="Age">{lasting(each.ageMs)}</td>
                <td class="number" data-title="Idle">{each.idleMs === undefined ? <span class="muted">–</span> : lasting(each.idleMs)}</td>
                <td class="number" data-title="In · out">
                  {bytes(each.bytesIn)} · {bytes(each.bytesOut)}
                </td>
                {writable && (
                  <td data-title="Change">
                    <button
                      type="button"
                      class="small"
                      disabled={connection.value !== "live"}
                      aria-label={`Close ${each.id}`}
                      onClick={() => closeSessions(`Close session ${each.id}`, `${NAMES.get(each.kind) ?? each.kind} of ${each.client || "a local client"}. A request under way ends with 502, or is broken off.`, { ids: [each.id] }, again)}
                    >
                      Close
                    </button>
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}
