// The health tree: services to which routers lead, with all below them, their causes, and since when.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { count } from "./format";
import { compare } from "./mapmodel";
import { Choice, Empty, Heading, NodeLink, Paging, Pulse, Search, Share, Since, States, pageOf } from "./parts";
import { route } from "./route";
import { conditions, urgency, urgentFirst } from "./state";
import { byId, byKind, liveOf, loaded, matches, structure, tick } from "./store";
import type { Node } from "./types";

const DEPTH = 10;
const OPEN_UP_TO = 200; // lines; longer lists show what is not well opened, the rest closed
const MOST_BELOW = 20; // members of a service, until more are asked for
const STILL_TICKS = 3;

export function Branch({ node, member, open, depth = 0 }: { node: Node; member?: Node; open: (node: Node) => boolean; depth?: number }): JSX.Element {
  const state = liveOf(node.id);
  const [chosen, setChosen] = useState<boolean>();
  const [most, setMost] = useState(MOST_BELOW);
  const shown = chosen ?? open(node);
  const below = (node.members ?? []).map((id) => byId.value.get(id)).filter((each): each is Node => !!each);
  const line = (
    <span class="row">
      <States node={node} />
      <NodeLink id={node.id} />
      {(member?.role || node.type) && (
        <span class="muted">
          {node.type}
          {member?.role && `, ${member.role}${member.percent === undefined ? "" : ` of ${member.percent} %`}`}
        </span>
      )}
      <Since state={state} />
      <span class="right">
        <Pulse state={state} />
        {member ? <Share node={member} state={liveOf(member.id)} brief /> : node.kind === "member" && <Share node={node} state={state} brief />}
      </span>
    </span>
  );
  const parent = below.length > 0 && depth <= DEPTH;
  return (
    <li class={parent ? "" : "leaf"}>
      {parent && (
        <button type="button" class="toggle" aria-expanded={shown} aria-label={`What is below ${node.name}`} onClick={() => setChosen(!shown)}>
          <span aria-hidden="true">{shown ? "▾" : "▸"}</span>
        </button>
      )}
      {line}
      {state.cause && <span class="cause">{state.cause}</span>}
      {parent && shown && (
        <ul>
          {urgentFirst(below, most).slice(0, most).map((each) => {
            const child = each.child ? byId.value.get(each.child) : undefined;
            return child ? (
              <Branch key={each.id} node={child} member={each} open={open} depth={depth + 1} />
            ) : (
              <Branch key={each.id} node={each} open={open} depth={depth + 1} />
            );
          })}
          {below.length > most && (
            <li class="leaf">
              <button type="button" class="small" onClick={() => setMost(most + MOST_BELOW)}>
                Show {Math.min(MOST_BELOW, below.length - most)} more of {count(below.length - most)}
              </button>
            </li>
          )}
        </ul>
      )}
    </li>
  );
}

function contains(node: Node, search: string, depth = 0): boolean {
  if (matches(node, search)) return true;
  if (depth > DEPTH) return false;
  return [...(node.members ?? []), ...(node.child ? [node.child] : [])].some((id) => {
    const below = byId.value.get(id);
    return below !== undefined && contains(below, search, depth + 1);
  });
}

export function HealthView(): JSX.Element {
  void tick.value;
  const { query } = route.value;
  const roots = useMemo(() => {
    const used = new Set(byKind.value.router.map((router) => router.service));
    return byKind.value.service.filter((service) => used.has(service.id) && (service.members ?? []).length > 0);
  }, [structure.value]);
  const [search, only] = [query["q"] ?? "", query["only"] ?? ""];
  const found = useMemo(() => {
    const kept = roots.filter((node) => (!only || urgency(node) < 3) && (!search || contains(node, search)));
    const rank = new Map(kept.map((node) => [node, Math.min(urgency(node), 2)]));
    return kept.sort((a, b) => rank.get(a)! - rank.get(b)! || compare(a.name, b.name));
  }, [roots, search, only, Math.floor(tick.value / STILL_TICKS)]);
  if (!loaded.value) return <Empty>Loading…</Empty>;
  const { shown, page, pages } = pageOf(found);
  const few = shown.reduce((lines, node) => lines + 1 + Math.min(MOST_BELOW, node.members?.length ?? 0), 0) <= OPEN_UP_TO;
  return (
    <>
      <Heading>Health</Heading>
      <div class="tools">
        <Search label="Search services and servers" placeholder="Service or server" />
        <Choice label="Show" name="only" options={[["problems", "what is not well"]]} />
      </div>
      {roots.length === 0 && <Empty>No router leads to a service with servers.</Empty>}
      {roots.length > 0 && found.length === 0 && <Empty>{only ? "All is well." : "Nothing matches."}</Empty>}
      <ul class="tree">
        {shown.map((node) => (
          <Branch key={node.id} node={node} open={(each) => few || conditions(each).some((state) => state.tone === "bad" || state.tone === "warn")} />
        ))}
      </ul>
      <Paging page={page} pages={pages} found={found.length} all={roots.length} what="service" />
    </>
  );
}
