// Single requests as they pass: asked for by filters that are part of the address, the latest one first.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { bytes, count, counted, moment, ms } from "./format";
import { Sign } from "./icons";
import { Choice, Empty, Entry, Heading, NodeLink } from "./parts";
import { amend, route } from "./route";
import { API, ask } from "./store";

const KEPT = 200; // rows
const SHOW_MS = 250; // between two changes of the rows
const SETTLE_MS = 400; // after the last letter of a filter
const AGAIN_MS = 2000;
const FILTERS = ["router", "service", "server", "status", "method", "path", "client", "rate"];
const STATUSES = ["2xx", "3xx", "4xx", "5xx", "none"];
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const RATES = ["1", "10", "50", "100"];

/** A request. What the access log drops is missing. */
interface Shown {
  row: number;
  time: number;
  client?: string;
  method?: string;
  host?: string;
  path?: string;
  query?: string;
  protocol?: string;
  status?: number;
  router?: string;
  service?: string;
  server?: string;
  ms?: number;
  firstByteMs?: number;
  bytesIn?: number;
  bytesOut?: number;
  retries?: number;
}

interface Counts {
  shown: number;
  skipped: number;
  lost: number;
}

const NONE: Counts = { shown: 0, skipped: 0, lost: 0 };
let lastRow = 0;

function toneOfStatus(status: number): string {
  if (status === 0 || status >= 500) return "status-bad";
  return status >= 400 ? "status-warn" : "";
}

/** Whether the page can be seen: nobody watches behind another tab. */
function useVisible(): boolean {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const look = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  return visible;
}

export function RequestsView(): JSX.Element {
  const { query } = route.value;
  const [rows, setRows] = useState<Shown[]>([]);
  const [counts, setCounts] = useState<Counts>(NONE);
  const [paused, setPaused] = useState(false);
  const [standing, setStanding] = useState(false);
  const [problem, setProblem] = useState("");
  const visible = useVisible();
  const asked = new URLSearchParams(FILTERS.filter((key) => query[key]).map((key) => [key, query[key]!])).toString();
  useEffect(() => {
    setRows([]);
    setCounts(NONE);
    setProblem("");
  }, [asked]);
  useEffect(() => {
    setStanding(false);
    if (paused || !visible) return undefined;
    let source: EventSource | undefined;
    let waiting: Shown[] = [];
    const open = () => {
      const opened = (source = new EventSource(`${API}tap?${asked}`));
      const hear = (name: string, act: (data: never) => void) => opened.addEventListener(name, (event) => act(JSON.parse((event as MessageEvent<string>).data) as never));
      hear("hello", () => {
        setStanding(true);
        setProblem("");
      });
      hear("request", (request: Shown) => {
        waiting.unshift({ ...request, row: ++lastRow });
        if (waiting.length > KEPT) waiting.length = KEPT;
      });
      hear("counts", (now: Counts) => setCounts(now));
      opened.onerror = () => {
        setStanding(false);
        if (opened.readyState !== EventSource.CLOSED) return; // it tries again by itself
        // The reason is in the answer, which an EventSource does not give.
        ask(`tap?${asked}`, { method: "GET", signal: AbortSignal.timeout(AGAIN_MS) }).catch((error: Error & { status?: number }) => {
          setProblem(error.status ? error.message : "lbcore cannot be reached");
          if (!error.status || error.status >= 500) timer = setTimeout(open, AGAIN_MS);
        });
      };
    };
    let timer = setTimeout(open, SETTLE_MS);
    const showing = setInterval(() => {
      if (!waiting.length) return;
      const fresh = waiting;
      waiting = [];
      setRows((before) => [...fresh, ...before].slice(0, KEPT));
    }, SHOW_MS);
    return () => {
      clearTimeout(timer);
      clearInterval(showing);
      source?.close();
    };
  }, [asked, paused, visible]);
  return (
    <>
      <Heading aside={<Standing paused={paused} standing={standing} />}>Requests</Heading>
      <p>Single requests as they end: those that the access log would have, at most {query["rate"] || 10} a second.</p>
      <div class="tools">
        <Entry label="Router" name="router" placeholder="shop@file" />
        <Entry label="Service" name="service" placeholder="shop@file" />
        <Entry label="Server" name="server" placeholder="http://10.0.0.1:80" />
        <Choice label="Status" name="status" options={STATUSES.map((each) => [each, each === "none" ? "no answer" : each])} />
        <Choice label="Method" name="method" options={METHODS.map((each) => [each, each])} />
        <Entry label="Path" name="path" placeholder="/cart" />
        <Entry label="Client" name="client" placeholder="10.0.0.0/8" />
        <label class="choice">
          <span>A second</span>
          <select value={query["rate"] || "10"} onChange={(event) => amend({ rate: event.currentTarget.value })}>
            {RATES.map((each) => (
              <option key={each} value={each} selected={each === (query["rate"] || "10")}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? "Go on" : "Pause"}
        </button>
        <button type="button" onClick={() => setRows([])} disabled={!rows.length}>
          Clear
        </button>
      </div>
      {problem && (
        <p class="problem" role="alert">
          <Sign shape="triangle" /> {problem}
        </p>
      )}
      <p class="muted" role="status">
        {counted(counts.shown, "request")} shown
        {counts.skipped > 0 && `, ${count(counts.skipped)} more fitted and were not shown`}
        {counts.lost > 0 && `, ${count(counts.lost)} lost`}
      </p>
      {rows.length === 0 && !problem && <Empty>{paused ? "Paused." : "Waiting for requests that fit…"}</Empty>}
      {rows.length > 0 && <Rows of={rows} />}
    </>
  );
}

function Standing({ paused, standing }: { paused: boolean; standing: boolean }): JSX.Element {
  return <span class="muted">{paused ? "paused" : standing ? "watching" : "connecting"}</span>;
}

function Rows({ of }: { of: Shown[] }): JSX.Element {
  return (
    <table class="list requests">
      <caption class="sr">The latest requests, at most {KEPT}</caption>
      <thead>
        <tr>
          <th scope="col">Request</th>
          <th scope="col">At</th>
          <th scope="col">Status</th>
          <th scope="col" class="number">Took</th>
          <th scope="col" class="number">First byte</th>
          <th scope="col" class="number">In · out</th>
          <th scope="col">Client</th>
          <th scope="col">Router, service, server</th>
        </tr>
      </thead>
      <tbody>
        {of.map((each) => (
          <tr key={each.row}>
            <td class="of-name">
              <span class="method">{each.method ?? ""}</span>
              {each.host ?? ""}
              {each.path ?? ""}
              {each.query !== undefined && `?${each.query}`}
            </td>
            <td data-title="At">{moment(each.time)}</td>
            <td data-title="Status">
              {each.status !== undefined && <span class={toneOfStatus(each.status)}>{each.status || "no answer"}</span>}
              {!!each.retries && <span class="muted"> {counted(each.retries, "repetition")}</span>}
            </td>
            <td class="number" data-title="Took">{ms(each.ms)}</td>
            <td class="number" data-title="First byte">{ms(each.firstByteMs)}</td>
            <td class="number" data-title="In · out">
              {bytes(each.bytesIn ?? 0)} · {bytes(each.bytesOut ?? 0)}
            </td>
            <td data-title="Client">{each.client}</td>
            <td data-title="Router, service, server" class="of-service">
              <span class="links">
                {each.router && <NodeLink id={`http/routers/${each.router.split(" -> ").pop()}`} />}
                {each.service && <NodeLink id={`http/services/${each.service}`} />}
                {each.server && <span class="muted">{each.server}</span>}
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
