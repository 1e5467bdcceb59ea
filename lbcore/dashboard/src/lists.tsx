// Lists of all objects of a kind: search, filters, order, pages.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";

import { count, ms, percent, perSecond, short } from "./format";
import { compare } from "./mapmodel";
import { Address, Choice, Empty, Heading, Name, NodeLink, Paging, Search, Share, States, errorShare, pageOf, split, toneOf } from "./parts";
import { amend, linkOf, route } from "./route";
import { STATES, conditions, isLost, urgency } from "./state";
import { byId, byKind, liveOf, loaded, matches, structure, tick } from "./store";
import type { Kind, Live, Node } from "./types";

interface ColumnOf {
  key: string;
  title: string;
  number?: boolean;
  /** What rows are ordered by: a number (large first) or a text. */
  by?: (node: Node, state: Live) => number | string;
  cell: (node: Node, state: Live) => JSX.Element | string;
}

const STILL_TICKS = 5;
const MOST_LINKS = 3;

function Links({ ids }: { ids: string[] | undefined }): JSX.Element {
  const all = ids ?? [];
  return (
    <span class="links">
      {all.slice(0, MOST_LINKS).map((id) => (
        <NodeLink key={id} id={id} />
      ))}
      {all.length > MOST_LINKS && <span class="muted">and {count(all.length - MOST_LINKS)} more</span>}
      {all.length === 0 && <span class="muted">none</span>}
    </span>
  );
}

const NAME: ColumnOf = {
  key: "name",
  title: "Name",
  by: (node) => node.key ?? node.name,
  cell: (node) => (
    <>
      <a class="main" href={linkOf(node.id)}>
        <Name node={node} />
      </a>
      {node.layer && node.layer !== "http" && <span class="tag">{node.layer.toUpperCase()}</span>}
      {node.errors?.map((text) => (
        <span class="cause" key={text}>
          {text}
        </span>
      ))}
    </>
  ),
};
const STATE: ColumnOf = {
  key: "state",
  title: "State",
  by: (node) => -urgency(node),
  cell: (node, state) => (
    <>
      <States node={node} />
      {state.cause && <span class="cause">{state.cause}</span>}
    </>
  ),
};
const number = (key: string, title: string, value: (state: Live) => number | undefined, show: (value: number) => string): ColumnOf => ({
  key,
  title,
  number: true,
  by: (_, state) => value(state) ?? -1,
  cell: (_, state) => {
    const found = value(state);
    return found ? show(found) : <span class="muted">–</span>;
  },
});
const RATE = number("rate", "Per second", (state) => state.rate, short);
const ERRORS: ColumnOf = {
  ...number("errors", "Errors", errorShare, percent),
  cell: (_, state) => {
    const found = errorShare(state);
    return found ? <span class={toneOf(found)}>{percent(found)}</span> : <span class="muted">–</span>;
  },
};
const P50 = number("p50", "p50", (state) => state.p50, ms);
const P95 = number("p95", "p95", (state) => state.p95, ms);
const P99 = number("p99", "p99", (state) => state.p99, ms);
const DENIED = number("denied", "Denied", (state) => state.denied, perSecond);
const FLIGHT = number("inFlight", "In flight", (state) => state.inFlight, short);

interface ListOf {
  kind: Kind;
  title: string;
  what: string;
  test?: (node: Node) => boolean;
  columns: ColumnOf[];
}

export const LISTS: Record<string, ListOf> = {
  entrypoints: {
    kind: "entrypoint",
    title: "Entry points",
    what: "entry point",
    columns: [
      NAME,
      STATE,
      { key: "address", title: "Address", cell: (node) => <Address node={node} /> },
      RATE, ERRORS, DENIED, P50, P95, P99, FLIGHT,
      number("connections", "Connections", (state) => state.connections, short),
    ],
  },
  routers: {
    kind: "router",
    title: "Routers",
    what: "router",
    columns: [
      NAME,
      STATE,
      { key: "rule", title: "Rule", by: (node) => node.rule ?? "", cell: (node) => <code>{node.rule ?? ""}</code> },
      { key: "service", title: "Service", cell: (node) => (node.service ? <NodeLink id={node.service} /> : <span class="muted">none</span>) },
      RATE, ERRORS, DENIED, P50, P95, P99, FLIGHT,
    ],
  },
  middlewares: {
    kind: "middleware",
    title: "Middlewares",
    what: "middleware",
    columns: [
      NAME,
      STATE,
      { key: "type", title: "Type", by: (node) => node.type ?? "", cell: (node) => node.type ?? "" },
      { key: "usedBy", title: "Used by", by: (node) => node.usedBy?.length ?? 0, cell: (node) => <Links ids={node.usedBy} /> },
      RATE, ERRORS, DENIED, FLIGHT,
    ],
  },
  services: {
    kind: "service",
    title: "Services",
    what: "service",
    columns: [
      NAME,
      STATE,
      { key: "type", title: "Type", by: (node) => node.type ?? "", cell: (node) => <>{node.type ?? ""}{node.strategy && <span class="muted"> {node.strategy}</span>}</> },
      { key: "members", title: "Members", number: true, by: (node) => node.members?.length ?? 0, cell: (node) => <Standing node={node} /> },
      RATE, ERRORS, P50, P95, P99, FLIGHT,
      number("queue", "Queue", (state) => state.queue, short),
    ],
  },
  servers: {
    kind: "member",
    title: "Servers",
    what: "server",
    test: (node) => !!node.server,
    columns: [
      NAME,
      STATE,
      { key: "service", title: "Service", by: (node) => node.service ?? "", cell: (node) => <NodeLink id={node.service ?? ""} /> },
      { key: "share", title: "Share: set → actual", by: (_, state) => state.share ?? -1, cell: (node, state) => <Share node={node} state={state} /> },
      RATE, ERRORS, P50, P95, P99, FLIGHT,
    ],
  },
};

/** How many members of a service are up. */
function Standing({ node }: { node: Node }): JSX.Element {
  const members = node.members ?? [];
  if (!members.length) return <span class="muted">–</span>;
  const up = members.filter((id) => {
    const state = liveOf(id);
    const child = byId.value.get(id)?.child;
    return !isLost(state) && !(child && isLost(liveOf(child)));
  }).length;
  return <span class={up < members.length ? "failing" : ""}>{up === members.length ? count(up) : `${up} of ${members.length} up`}</span>;
}

export function ListView({ name }: { name: string }): JSX.Element {
  const list = LISTS[name]!;
  const { query } = route.value;
  const all = useMemo(() => byKind.value[list.kind].filter(list.test ?? (() => true)), [structure.value, name]);
  const [sorted, falling] = (query["sort"] ?? "").startsWith("-") ? [query["sort"]!.slice(1), true] : [query["sort"] ?? "name", false];
  const by = list.columns.find((column) => column.key === sorted)?.by ?? NAME.by!;
  const [search, layer, state, provider, point] = ["q", "layer", "state", "provider", "entrypoint"].map((key) => query[key] ?? "");
  const lively = state !== "" || list.columns.find((column) => column.key === sorted)?.number || sorted === "state";
  const found = useMemo(() => {
    const kept = all.filter(
      (node) =>
        (!layer || node.layer === layer) &&
        (!provider || providerOf(node) === provider) &&
        (!point || (node.entryPoints ?? []).includes(`entrypoints/${point}`)) &&
        (!search || matches(node, search)) &&
        (!state || (state === "problem" ? urgency(node) < 2 : conditions(node).some((each) => each.word === state))),
    );
    const keys = new Map(kept.map((node) => [node, by(node, liveOf(node.id))]));
    const sign = falling ? -1 : 1;
    return kept.sort((a, b) => {
      const [x, y] = [keys.get(a)!, keys.get(b)!];
      return sign * (typeof x === "number" && typeof y === "number" ? x - y : compare(String(x), String(y))) || compare(a.name, b.name);
    });
  }, [all, search, layer, state, provider, point, query["sort"], lively ? Math.floor(tick.value / STILL_TICKS) : 0]);
  void tick.value;
  const { shown, page, pages } = pageOf(found);
  const providers = useMemo(() => [...new Set(all.map(providerOf))].filter(Boolean).sort(compare), [all]);
  const layers = useMemo(() => [...new Set(all.map((node) => node.layer ?? ""))].filter(Boolean), [all]);
  if (!loaded.value) return <Empty>Loading…</Empty>;
  return (
    <>
      <Heading>{list.title}</Heading>
      <div class="tools">
        <Search label={`Search ${list.title.toLowerCase()}`} placeholder="Name, rule, address, type" />
        <Choice label="State" name="state" options={[["problem", "any problem"], ...STATES.map((each): [string, string] => [each, each])]} />
        {layers.length > 1 && <Choice label="Layer" name="layer" options={layers.map((each) => [each, each.toUpperCase()])} />}
        {providers.length > 1 && <Choice label="Provider" name="provider" options={providers.map((each) => [each, each])} />}
        {list.kind === "router" && <Choice label="Entry point" name="entrypoint" options={byKind.value.entrypoint.map((each) => [each.name, each.name])} />}
      </div>
      {shown.length > 0 && (
        <table class="list">
          <caption class="sr">{list.title}</caption>
          <thead>
            <tr>
              {list.columns.map((column) => (
                <th
                  key={column.key}
                  scope="col"
                  class={column.number ? "number" : ""}
                  aria-sort={column.by && sorted === column.key ? (falling ? "descending" : "ascending") : undefined}
                >
                  {column.by ? (
                    <button type="button" onClick={() => amend({ sort: next(column, sorted, falling), page: "" })}>
                      {column.title}
                      <span class="arrow" aria-hidden="true">
                        {sorted === column.key ? (falling ? "▼" : "▲") : ""}
                      </span>
                    </button>
                  ) : (
                    column.title
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((node) => {
              const live = liveOf(node.id);
              return (
                <tr key={node.id}>
                  {list.columns.map((column) => (
                    <td key={column.key} class={`${column.number ? "number" : ""} of-${column.key}`} data-title={column.title}>
                      {column.cell(node, live)}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      <Paging page={page} pages={pages} found={found.length} all={all.length} what={list.what} />
    </>
  );
}

function providerOf(node: Node): string {
  return node.provider ?? split(node)[1];
}

/** Numbers begin with the largest. */
function next(column: ColumnOf, sorted: string, falling: boolean): string {
  const first = column.number || column.key === "state";
  if (sorted !== column.key) return first ? `-${column.key}` : column.key;
  return falling ? column.key : `-${column.key}`;
}
