// The highest numbers of each object, as lbcore has seen them once a second.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { MaximaActions, resets } from "./actions";
import { count, counted, moment, short } from "./format";
import { Choice, Empty, Heading, NodeLink, Paging, Search } from "./parts";
import { amend, route } from "./route";
import { ask, byId, connection } from "./store";
import type { Maxima, MaximaPage, Most, Node } from "./types";

const AGAIN_MS = 5000;
const KINDS: [string, string][] = [["entrypoint", "entry points"], ["router", "routers"], ["service", "services"], ["member", "servers"]];
const COLUMNS: [keyof Maxima, string][] = [
  ["inFlight", "Most in flight"],
  ["queue", "Longest queue"],
  ["rate", "Most per second"],
  ["connections", "Most connections"],
  ["connectionRate", "Most new connections/s"],
];
export const SEEN = "lbcore looks once a second: what rises and falls between two looks is not seen.";

function title(node: Node, key: keyof Maxima): string {
  if (node.kind === "entrypoint" && node.protocol === "udp") {
    if (key === "connections") return "most sessions";
    if (key === "connectionRate") return "most new sessions/s";
  }
  if (key === "rate") return node.layer === "tcp" ? "most connections/s" : node.layer === "udp" ? "most sessions/s" : "most requests/s";
  return COLUMNS.find(([each]) => each === key)![1].toLowerCase();
}

/** Those of one object, with their titles. */
export function highest(node: Node, maxima: Maxima): [string, JSX.Element][] {
  return COLUMNS.filter(([key]) => maxima[key]).map(([key]) => [title(node, key), <Height of={maxima[key]} />]);
}

function Height({ of }: { of: Most | undefined }): JSX.Element {
  if (!of) return <span class="muted">–</span>;
  return (
    <>
      {of.most < 10000 ? count(of.most) : short(of.most)} <span class="muted">at {moment(of.at)}</span>
    </>
  );
}

export function MaximaView(): JSX.Element {
  const { query } = route.value;
  const [found, setFound] = useState<MaximaPage>();
  const [problem, setProblem] = useState("");
  const asked = new URLSearchParams({ sort: query["sort"] || "name", page: query["page"] || "1", kind: query["kind"] ?? "", q: query["q"] ?? "" }).toString();
  useEffect(() => {
    let stopped = false;
    const load = () => {
      if (document.hidden || connection.value === "lost") return;
      ask<MaximaPage>(`maxima?${asked}`).then(
        (page) => !stopped && (setFound(page), setProblem("")),
        (error: Error) => !stopped && setProblem(error.message),
      );
    };
    load();
    const timer = setInterval(load, AGAIN_MS);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, [asked, resets.value]);
  const sorted = query["sort"] || "name";
  const header = (key: string, text: string, number: boolean) => (
    <th key={key} scope="col" class={number ? "number" : ""} aria-sort={sorted === key ? (number ? "descending" : "ascending") : undefined}>
      <button type="button" onClick={() => amend({ sort: key, page: "" })}>
        {text}
        <span class="arrow" aria-hidden="true">
          {sorted === key ? (number ? "▼" : "▲") : ""}
        </span>
      </button>
    </th>
  );
  return (
    <>
      <Heading aside={found && <span class="muted">since {moment(found.since)}</span>}>Maxima</Heading>
      <p class="muted">The highest numbers that were seen. {SEEN}</p>
      <div class="tools">
        <Search label="Search maxima" placeholder="Name, rule, address, type" />
        <Choice label="Kind" name="kind" options={KINDS} />
        <MaximaActions />
      </div>
      {problem && <Empty>They cannot be had: {problem}</Empty>}
      {!found && !problem && <Empty>Loading…</Empty>}
      {found && found.items.length > 0 && (
        <table class="list">
          <caption class="sr">Maxima</caption>
          <thead>
            <tr>
              {header("name", "Name", false)}
              {COLUMNS.map(([key, text]) => header(key, text, true))}
            </tr>
          </thead>
          <tbody>
            {found.items.map(({ id, maxima }) => {
              const node = byId.value.get(id);
              return (
                <tr key={id}>
                  <td class="of-name">
                    <NodeLink id={id} />
                    <span class="tag">{node ? kindOf(node) : ""}</span>
                  </td>
                  {COLUMNS.map(([key, text]) => (
                    <td key={key} class="number" data-title={text}>
                      <Height of={maxima[key]} />
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {found && <Paging page={found.page} pages={found.pages} found={found.total} all={found.total} what="object" />}
      {found?.total === 0 && <p class="muted">{counted(0, "object")} with traffic so far.</p>}
    </>
  );
}

function kindOf(node: Node): string {
  const kind = node.kind === "entrypoint" ? "entry point" : node.kind === "member" ? "server" : node.kind;
  return node.layer && node.layer !== "http" ? `${node.layer.toUpperCase()} ${kind}` : kind;
}
