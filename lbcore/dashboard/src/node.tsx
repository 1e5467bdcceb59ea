// The page of one node: its state and cause, curves of the last hour, what leads to it, what is below it, its configuration.

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { MemberActions, ServiceActions } from "./actions";
import { Curve, historySeries } from "./curves";
import { bytes, count, counted, lasting, moment, ms, percent, perSecond, short } from "./format";
import { MapOf } from "./map";
import { ordered, routersFor } from "./mapmodel";
import { SEEN, highest } from "./maxima";
import { Address, Empty, Heading, Name, NodeLink, PER_PAGE, Paging, Share, Since, States, errorShare, pageOf, rateUnit, useHistory, useLive } from "./parts";
import { link } from "./route";
import { urgentFirst } from "./state";
import { ask, byId, liveOf, loaded, parentsOf, routersOf, structure, tick, time } from "./store";
import type { History, Live, Node } from "./types";

const KINDS = { entrypoint: "Entry point", router: "Router", middleware: "Middleware", service: "Service", member: "Server" };
const LISTS = { entrypoint: "entrypoints", router: "routers", middleware: "middlewares", service: "services", member: "servers" };
const MOST_LINKS = 20;
const MOST_ROUTERS = 6; // on the map of a node
const STILL_TICKS = 5; // for so long the order of many members stays

type Fact = [string, JSX.Element | string | undefined];

function Facts({ of }: { of: Fact[] }): JSX.Element {
  return (
    <dl class="facts">
      {of
        .filter(([, value]) => value !== undefined && value !== "")
        .map(([title, value]) => (
          <div key={title}>
            <dt>{title}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function links(ids: string[] | undefined, list?: string): JSX.Element | undefined {
  if (!ids?.length) return undefined;
  return (
    <span class="links">
      {ids.slice(0, MOST_LINKS).map((id) => (
        <NodeLink key={id} id={id} />
      ))}
      {ids.length > MOST_LINKS && (list ? <a href={list}>all {count(ids.length)}</a> : <span class="muted">and {count(ids.length - MOST_LINKS)} more</span>)}
    </span>
  );
}

function part(kept: number | undefined, begun: number | undefined): string | undefined {
  const all = (kept ?? 0) + (begun ?? 0);
  return all > 0 ? `${percent((kept ?? 0) / all)} of the requests by a cookie` : undefined;
}

function configured(node: Node): Fact[] {
  const plus = (value: boolean | undefined, text: string) => (value ? text : undefined);
  switch (node.kind) {
    case "entrypoint":
      return [
        ["Address", <Address node={node} />],
        ["Protocols", [plus(node.tls, "TLS"), plus(node.http3, "HTTP/3")].filter(Boolean).join(", ")],
        ["Routers", links(routersOf.value.get(node.id)?.map((each) => each.id), link("routers", { entrypoint: node.name }))],
      ];
    case "router":
      return [
        ["Rule", <code>{node.rule ?? ""}</code>],
        ["Priority", node.priority === undefined ? undefined : count(node.priority)],
        ["Entry points", links(node.entryPoints)],
        ["TLS", plus(node.tls, "terminated here")],
        ["Parents", node.parents?.length ? links(node.parents) : undefined],
        ["Middlewares", node.middlewares?.length ? links(node.middlewares) : "none"],
        ["Service", node.service ? <NodeLink id={node.service} /> : "none: routers below it decide"],
      ];
    case "middleware":
      return [
        ["Type", node.type],
        ["Used by", node.usedBy?.length ? links(node.usedBy) : "nothing"],
      ];
    case "service":
      return [
        ["Type", `${node.type ?? ""} ${node.strategy ?? ""}`.trim()],
        ["Sticky cookie", node.sticky],
        ["Checks", [plus(node.healthCheck, "active health check"), plus(node.passiveHealthCheck, "passive health check")].filter(Boolean).join(", ") || (node.type === "loadbalancer" ? "none: its servers count as up, whether they can be reached or not" : undefined)],
        ["Slow start", plus(node.slowStart, "yes")],
        ["Limit", node.maxConnections ? `${count(node.maxConnections)} requests in flight at each server` : undefined],
        ["Middlewares", links(node.middlewares)],
        ["Routers", links(node.usedBy)],
        ["Member of", links(parentsOf.value.get(node.id)?.map((each) => each.service!))],
      ];
    case "member":
      return [
        ["Service", <NodeLink id={node.service ?? ""} />],
        ["Weight", node.weight === undefined ? undefined : count(node.weight)],
        ["Role", node.role],
        ["Limit", node.maxConnections ? `${count(node.maxConnections)} requests in flight` : undefined],
      ];
  }
}

const DENIED = "denied by middlewares";

/** What middlewares have denied there; of a middleware, what it has. `all`: since the start. */
function denied(node: Node, state: Live, all: number | undefined): Fact {
  const title = node.kind === "middleware" ? "denied" : DENIED;
  if (!all && state.denied === undefined) return [title, undefined];
  return [title, `${perSecond(state.denied)}${all === undefined ? "" : `, ${count(all)} so far`}`];
}

function now(node: Node, state: Live): Fact[] {
  const failing = errorShare(state);
  const classes = state.classes?.map((value, place): [string, number] => [place ? `${place}xx` : "no answer", value]).filter(([, value]) => value > 0);
  return [
    [rateUnit(node), short(state.rate ?? 0)],
    ["errors", node.shared ? undefined : failing === undefined ? "–" : `${percent(failing)} (${perSecond(state.errors)})`],
    ["latency: p50 · p95 · p99", state.p95 === undefined ? undefined : `${ms(state.p50)} · ${ms(state.p95)} · ${ms(state.p99)}`],
    ["in flight", node.shared ? undefined : `${short(state.inFlight ?? 0)}${state.maxConnections ? ` of ${count(state.maxConnections)}` : ""}`],
    ["connections", state.connections === undefined ? undefined : short(state.connections)],
    ["queue", state.queue === undefined && state.queued === undefined ? undefined : `${short(state.queue ?? 0)} waiting, ${perSecond(state.queued)} come`],
    ["retries", state.retries === undefined ? undefined : perSecond(state.retries)],
    ["mirrored", state.mirrors && `${perSecond(state.mirrors.sent)} sent, ${perSecond(state.mirrors.failed)} failed, ${perSecond(state.mirrors.shed)} shed`],
    ["sessions", state.sticky && part(state.sticky.kept, state.sticky.begun)],
    ["bytes in · out", state.bytesIn === undefined && state.bytesOut === undefined ? undefined : `${bytes(state.bytesIn ?? 0)}/s · ${bytes(state.bytesOut ?? 0)}/s`],
    ["answers", classes?.length ? classes.map(([title, value]) => `${title} ${perSecond(value)}`).join(" · ") : undefined],
    ["down so far", state.downs === undefined ? undefined : `${counted(state.downs, "time")}, ${lasting((state.downMs ?? 0) + (state.down ? time.value - (state.since ?? time.value) : 0))} in all`],
    ["weight in force", state.weight === undefined ? undefined : `${count(state.weight)}${state.override === undefined ? "" : ", set by hand"}${state.slowStart ? `, slow start at ${state.slowStart} %` : ""}`],
    [`${rateUnit(node).replace("/s", "")} so far`, state.requests === undefined ? undefined : count(state.requests)],
  ];
}

function Members({ service }: { service: Node }): JSX.Element | null {
  const members = useMemo(() => {
    const all = (service.members ?? []).map((id) => byId.value.get(id)).filter((each): each is Node => !!each);
    return urgentFirst(all, PER_PAGE);
  }, [service, Math.floor(tick.value / STILL_TICKS)]);
  if (!members.length) return null;
  const { shown, page, pages } = pageOf(members);
  return (
    <section>
      <h2>Members</h2>
      <table class="list">
        <caption class="sr">Members of {service.name}</caption>
        <thead>
          <tr>
            <th scope="col">Member</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Weight</th>
            <th scope="col">Share: set → actual</th>
            <th scope="col" class="number">{rateUnit(service)}</th>
            <th scope="col" class="number">Errors</th>
            <th scope="col" class="number">p95</th>
            <th scope="col" class="number">In flight</th>
            <th scope="col">Actions</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((member) => {
            const state = liveOf(member.id);
            const child = member.child ? byId.value.get(member.child) : undefined;
            const below = child ? liveOf(child.id) : state;
            // Of a service below only its requests are counted here: what becomes of them is known of the service itself.
            const failing = child?.shared ? undefined : errorShare(below);
            return (
              <tr key={member.id}>
                <td class="of-name">
                  {child ? <NodeLink id={child.id} /> : <NodeLink id={member.id} />}
                  {member.role && <span class="tag">{member.role}{member.percent === undefined ? "" : ` ${member.percent} %`}</span>}
                </td>
                <td data-title="State">
                  <States node={member} /> <Since state={below} />
                  {below.cause && <span class="cause">{below.cause}</span>}
                </td>
                <td class="number" data-title="Weight">
                  {member.weight === undefined ? "–" : state.weight !== undefined && state.weight !== member.weight ? `${count(state.weight)} of ${count(member.weight)}` : count(member.weight)}
                </td>
                <td data-title="Share">
                  <Share node={member} state={state} />
                </td>
                <td class="number" data-title={rateUnit(service)}>{short((state.rate ?? below.rate) || 0)}</td>
                <td class="number" data-title="Errors">{failing === undefined ? "–" : percent(failing)}</td>
                <td class="number" data-title="p95">{ms(state.p95 ?? below.p95)}</td>
                <td class="number" data-title="In flight">{short((state.inFlight ?? below.inFlight) || 0)}</td>
                <td>
                  <MemberActions member={member} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {pages > 1 && <Paging page={page} pages={pages} found={members.length} all={members.length} what="member" />}
      <ServiceActions service={service} members={shown} />
    </section>
  );
}

function Curves({ node, history }: { node: Node; history: History | undefined }): JSX.Element {
  if (!history) return <Empty>Loading the last hour…</Empty>;
  if (!history.kept || history.times.length === 0) return <Empty>No traffic in the last hour.</Empty>;
  const series = historySeries(history);
  return (
    <div class="curves">
      <Curve title={rateUnit(node)} times={history.times} series={node.shared ? series.traffic.slice(0, 1) : series.traffic} show={short} />
      {history.p95.some((value) => value !== null) && <Curve title="Latency" times={history.times} series={series.latency} show={ms} />}
      {!node.shared && <Curve title="Load" times={history.times} series={series.load} show={short} />}
    </div>
  );
}

/** What the last active health check of a server has found, also while that takes nothing away yet. */
function LastCheck({ last }: { last: History["lastCheck"] }): JSX.Element | null {
  if (!last) return null;
  const found = last.error === undefined ? `passed in ${ms(last.ms)}` : `failed after ${ms(last.ms)}: ${last.error}`;
  return <p class={last.error === undefined ? "muted" : "problem"}>The last health check {found}, at {moment(last.at)}.</p>;
}

/** The object in the form of the API, which names all settings. */
function Configuration({ node }: { node: Node }): JSX.Element | null {
  const [shown, setShown] = useState("");
  useEffect(() => setShown(""), [node.id, structure.value.version]);
  if (node.kind === "member") return null;
  const path = node.kind === "entrypoint" ? `entrypoints/${encodeURIComponent(node.name)}` : `${node.layer}/${node.kind}s/${encodeURIComponent(node.name)}`;
  const load = (event: Event) => {
    if (!(event.currentTarget as HTMLDetailsElement).open || shown) return;
    ask<Record<string, unknown>>(path).then(
      (found) => {
        delete found["health"];
        setShown(JSON.stringify(found, null, 2));
      },
      (error: Error) => setShown(`It cannot be had: ${error.message}`),
    );
  };
  return (
    <details class="configuration" onToggle={load}>
      <summary>Configuration</summary>
      <pre tabIndex={0}>{shown || "Loading…"}</pre>
    </details>
  );
}

/** What to ask for so as to see single requests of a node; nothing where that cannot be said. */
function watchable(node: Node): Record<string, string> | undefined {
  if (node.kind === "router" || node.kind === "service") return { [node.kind]: node.name };
  return node.kind === "member" && node.server ? { server: node.key ?? "" } : undefined;
}

export function NodeView({ id }: { id: string }): JSX.Element {
  const node = byId.value.get(id);
  const state = useLive(id);
  const history = useHistory(id);
  void tick.value;
  if (!loaded.value) return <Empty>Loading…</Empty>;
  if (!node) {
    return (
      <>
        <Heading>Not there</Heading>
        <Empty>
          Nothing in the configuration is called <code>{id}</code> now. <a href="#/">Back to the map</a>
        </Empty>
      </>
    );
  }
  const layer = node.layer && node.layer !== "http" ? `${node.layer.toUpperCase()} ` : "";
  const title = layer ? layer + KINDS[node.kind].toLowerCase() : KINDS[node.kind];
  const routers = ordered(routersFor("", "", node.id));
  return (
    <>
      <nav class="crumbs" aria-label="Breadcrumb">
        <a href={link(LISTS[node.kind])}>{KINDS[node.kind]}s</a>
      </nav>
      <Heading aside={<span class="muted">{title}</span>}>
        <Name node={node} />
      </Heading>
      <div class="standing">
        <States node={node} />
        {!!state.since && (
          <span class="muted">
            since {moment(state.since)}, for {lasting(time.value - state.since)}
          </span>
        )}
        {node.kind === "member" && <Share node={node} state={state} />}
        {node.kind === "member" && <MemberActions member={node} />}
        {node.layer === "http" && watchable(node) && <a href={link("requests", watchable(node))}>Watch its requests</a>}
        {watchable(node) && <a href={link("sessions", watchable(node))}>Its sessions</a>}
      </div>
      {state.cause && <p class="problem">{state.cause}</p>}
      {node.errors?.map((text) => (
        <p class="problem" key={text}>
          {text}
        </p>
      ))}
      <section>
        <h2>Now</h2>
        <Facts of={[...now(node, state), denied(node, state, history?.denied)]} />
        {node.shared && <p class="muted">Errors, latency and requests in flight are on the pages of its members: some of its servers have requests from elsewhere, too.</p>}
        {node.kind === "member" && byId.value.get(node.service ?? "")?.healthCheck && <LastCheck last={history?.lastCheck} />}
        {node.kind === "middleware" && <p class="muted">The sum of the routers and services that use it.</p>}
      </section>
      <Members service={node} />
      {node.kind !== "middleware" && (
        <section>
          <h2>The last hour</h2>
          <Curves node={node} history={history} key={node.id} />
        </section>
      )}
      {history?.maxima && Object.keys(history.maxima).length > 0 && (
        <section>
          <h2>Maxima</h2>
          <Facts of={highest(node, history.maxima)} />
          <p class="muted">
            Since {moment(history.maximaSince)}. {SEEN}
          </p>
          <p class="more">
            <a href={link("maxima")}>All maxima</a>
          </p>
        </section>
      )}
      {routers.length > 0 && (
        <section>
          <h2>On the map</h2>
          <MapOf routers={routers.slice(0, MOST_ROUTERS)} found={routers.length} />
          {routers.length > MOST_ROUTERS && <p class="more">{counted(routers.length, "router")} lead here; the map shows {MOST_ROUTERS} of them.</p>}
        </section>
      )}
      <section>
        <h2>Settings</h2>
        <Facts of={configured(node)} />
        <Configuration node={node} />
      </section>
    </>
  );
}
