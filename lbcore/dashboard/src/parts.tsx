// Small parts that the views share.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { count, counted, lasting, ms, percent, perSecond, short } from "./format";
import { State } from "./icons";
import { amend, link, linkOf, route } from "./route";
import { conditions } from "./state";
import { byId, connection, historyOf, liveOf, time } from "./store";
import type { History, Live, Node } from "./types";

const ALARMING = 0.01; // errors among all

/** The heading of a view. It takes the focus when the view is opened. */
export function Heading({ children, aside }: { children: ComponentChildren; aside?: ComponentChildren }): JSX.Element {
  return (
    <header class="heading">
      <h1 tabIndex={-1}>{children}</h1>
      {aside}
    </header>
  );
}

/** Where an entry point listens: as configured, and as it is if the system has chosen the port. */
export function Address({ node }: { node: Node }): JSX.Element {
  const suffix = node.protocol === "udp" ? "/udp" : "";
  const configured = `${node.address ?? ""}`.replace(/\/udp$/, "") + suffix;
  return (
    <>
      <code>{node.bound ? node.bound + suffix : configured}</code>
      {node.bound && <span class="muted"> configured as {configured}</span>}
    </>
  );
}

/** The name of a node without its provider, which stands beside it in grey. */
export function Name({ node }: { node: Node }): JSX.Element {
  const [name, provider] = split(node);
  return (
    <span class="name">
      {name}
      {provider && <span class="provider">@{provider}</span>}
    </span>
  );
}

export function split(node: Node): [string, string] {
  const full = node.kind === "member" ? (node.key ?? node.name) : node.name;
  const place = full.lastIndexOf("@");
  return place > 0 && !full.includes("://") ? [full.slice(0, place), full.slice(place + 1)] : [full, ""];
}

/** A link to the page of a node; plain text if the node is not there any more. */
export function NodeLink({ id }: { id: string }): JSX.Element {
  const node = byId.value.get(id);
  if (!node) return <span class="name">{id.split("/").slice(id.startsWith("entrypoints/") ? 1 : 2).join("/")}</span>;
  return (
    <a href={linkOf(id)}>
      <Name node={node} />
    </a>
  );
}

export function States({ node }: { node: Node }): JSX.Element {
  return (
    <span class="states">
      {conditions(node).map((each) => (
        <State key={each.word} of={each} />
      ))}
    </span>
  );
}

export function rateUnit(node: Node): string {
  if (node.layer === "tcp") return "Connections/s";
  return node.layer === "udp" ? "Sessions/s" : "Requests/s";
}

/** The part of the requests that failed; undefined without requests. */
export function errorShare(state: Live): number | undefined {
  return state.rate ? Math.min(1, (state.errors ?? 0) / state.rate) : undefined;
}

/** How an error share is shown: single errors among many requests are no alarm. */
export function toneOf(failing: number | undefined): string {
  return (failing ?? 0) >= ALARMING ? "failing" : "";
}

/** What is live at a node, in one line. */
export function Pulse({ state, brief = false }: { state: Live; brief?: boolean }): JSX.Element {
  const failing = errorShare(state) ?? 0;
  const idle = !state.rate && !state.inFlight && !state.connections;
  if (idle) return <span class="pulse muted">no traffic</span>;
  return (
    <span class="pulse">
      <span>{perSecond(state.rate)}</span>
      {failing > 0 && (
        <span class={toneOf(failing)}>
          {percent(failing)} {brief ? <abbr title="errors">err</abbr> : "errors"}
        </span>
      )}
      {state.p95 !== undefined && <span class="p95">p95 {ms(state.p95)}</span>}
      {!brief && !!state.inFlight && <span>{short(state.inFlight)} in flight</span>}
      {!!state.queue && <span class="failing">{short(state.queue)} queued</span>}
    </span>
  );
}

/** The configured part of the requests, with the actual one below it. */
export function Share({ node, state, brief = false }: { node: Node; state: Live; brief?: boolean }): JSX.Element | null {
  const wanted = state.wanted;
  if (wanted === undefined && state.share === undefined) return null;
  const text = `${wanted === undefined ? "–" : percent(wanted)} configured, ${state.share === undefined ? "no traffic" : `${percent(state.share)} actual`}`;
  return (
    <span class="share" title={text}>
      <span class="bars" aria-hidden="true">
        <span class="bar wanted" style={{ width: `${(wanted ?? 0) * 100}%` }} />
        <span class="bar actual" style={{ width: `${(state.share ?? 0) * 100}%` }} />
      </span>
      <span class="sr">{text}</span>
      <span class="numbers" aria-hidden="true">
        {wanted === undefined ? "–" : percent(wanted).slice(0, -2)} → {state.share === undefined ? "–" : percent(state.share)}
      </span>
      {!brief && node.role && node.role !== "main" && <span class="muted">{node.role}</span>}
    </span>
  );
}

/** How long a state has lasted. */
export function Since({ state }: { state: Live }): JSX.Element | null {
  return state.since ? <span class="muted">for {lasting(time.value - state.since)}</span> : null;
}

export function Search({ label, placeholder }: { label: string; placeholder: string }): JSX.Element {
  const { query } = route.value;
  return (
    <label class="search">
      <span class="sr">{label}</span>
      <input
        type="search"
        value={query["q"] ?? ""}
        placeholder={placeholder}
        data-search
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => amend({ q: event.currentTarget.value, page: "" })}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

/** A choice that is part of the address. */
export function Choice({ label, name, options }: { label: string; name: string; options: [string, string][] }): JSX.Element {
  const value = route.value.query[name] ?? "";
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={(event) => amend({ [name]: event.currentTarget.value, page: "" })}>
        <option value="">any</option>
        {options.map(([key, text]) => (
          <option key={key} value={key} selected={key === value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A text that is part of the address. */
export function Entry({ label, name, placeholder }: { label: string; name: string; placeholder: string }): JSX.Element {
  return (
    <label class="choice">
      <span>{label}</span>
      <input
        type="text"
        value={route.value.query[name] ?? ""}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => amend({ [name]: event.currentTarget.value.trim(), page: "" })}
      />
    </label>
  );
}

export const PER_PAGE = 50;

export function pageOf<T>(items: T[]): { shown: T[]; page: number; pages: number } {
  const pages = Math.max(1, Math.ceil(items.length / PER_PAGE));
  const page = Math.min(pages, Math.max(1, Number(route.value.query["page"]) || 1));
  return { shown: items.slice((page - 1) * PER_PAGE, page * PER_PAGE), page, pages };
}

/** How many there are, and the way to the other pages. */
export function Paging({ page, pages, found, all, what }: { page: number; pages: number; found: number; all: number; what: string }): JSX.Element {
  const { path, query } = route.value;
  const to = (target: number) => link(path, { ...query, page: target === 1 ? "" : target });
  const first = found ? (page - 1) * PER_PAGE + 1 : 0;
  const last = Math.min(found, page * PER_PAGE);
  const near = [...new Set([1, page - 1, page, page + 1, pages])].filter((each) => each >= 1 && each <= pages);
  return (
    <nav class="paging" aria-label="Pages">
      <p aria-live="polite">
        {found ? `${count(first)}–${count(last)} of ` : ""}
        {found === all ? counted(all, what) : `${count(found)} of ${counted(all, what)}`}
        {found === 0 && " match"}
      </p>
      {pages > 1 && (
        <ul>
          {page > 1 && (
            <li>
              <a href={to(page - 1)} rel="prev">
                Previous
              </a>
            </li>
          )}
          {near.map((each, place) => (
            <li key={each} class={place > 0 && each - near[place - 1]! > 1 ? "gap" : ""}>
              <a href={to(each)} aria-label={`Page ${each}`} aria-current={each === page ? "page" : undefined}>
                {count(each)}
              </a>
            </li>
          ))}
          {page < pages && (
            <li>
              <a href={to(page + 1)} rel="next">
                Next
              </a>
            </li>
          )}
        </ul>
      )}
    </nav>
  );
}

export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

/** The last hour of a node, fetched anew as it grows. */
export function useHistory(id: string): History | undefined {
  const [known, setKnown] = useState<History>();
  useEffect(() => {
    let stopped = false;
    const load = () => {
      if (document.hidden || connection.value === "lost") return;
      historyOf(id).then(
        (found) => !stopped && setKnown(found),
        () => undefined, // the banner tells when lbcore cannot be reached
      );
    };
    setKnown(undefined);
    load();
    const timer = setInterval(load, 10000);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, [id]);
  return known?.id === id ? known : undefined;
}

export function useLive(id: string): Live {
  void time.value; // shown anew with each event
  return liveOf(id);
}
