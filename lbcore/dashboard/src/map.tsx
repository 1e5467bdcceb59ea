// The map: entry points, routers, middlewares, services and servers, with the traffic between them.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { count, counted, perSecond } from "./format";
import { State } from "./icons";
import { COLUMNS, type Column, type Edge, type Picture, type Placed, ROUTERS, ROW, type Ways, draw, ordered, routersFor, waysThrough } from "./mapmodel";
import { Empty, Pulse, Search, Share, split } from "./parts";
import { amend, link, linkOf, route } from "./route";
import { conditions } from "./state";
import { byKind, liveOf, loaded, structure, tick } from "./store";
import type { Layer, Node } from "./types";

const TITLES: Record<Column, string> = {
  entrypoints: "Entry points",
  routers: "Routers",
  middlewares: "Middlewares",
  services: "Services",
  servers: "Servers",
};
const GAPS = 4; // between columns, each as wide as
const GAP_PX = 40;
const WIDTHS: Record<Column, number> = { entrypoints: 0.155, routers: 0.215, middlewares: 0.13, services: 0.235, servers: 0.265 };
const CARD = ROW - 8;
const INDENT = 14;
const STILL_TICKS = 10; // for so long the order stays, so that nothing jumps while it is read

function Facts({ node }: { node: Node }): JSX.Element {
  const state = liveOf(node.id);
  if (node.kind === "middleware" && !state.rate && !state.inFlight) return <span class="pulse muted">{node.type}</span>;
  return <Pulse state={state} brief />;
}

function label(node: Node): string {
  if (node.kind === "entrypoint") return (node.bound ?? node.address ?? "").replace(/^.*(?=:\d+(\/udp)?$)/, "");
  return node.layer === "tcp" || node.layer === "udp" ? node.layer.toUpperCase() : "";
}

function Card({ place }: { place: Placed }): JSX.Element {
  const { node, member } = place;
  const own = conditions(node);
  // A service that is a member of another one has a weight there, which may be set by hand.
  const about = member ? [...own, ...conditions(member).filter((each) => each.tone === "note")] : own;
  const [name, provider] = split(node);
  const scheme = /^\w+:\/\//.exec(name)?.[0] ?? "";
  const first = about[0]!;
  const share = member ?? (node.kind === "member" ? node : undefined);
  return (
    <a class={`card tone-${first.tone}`} href={linkOf(node.id)}>
      <span class="line">
        <State of={first} quiet={first.tone === "well" || first.tone === "quiet"} />
        <span class={scheme ? "name url" : "name"} title={node.name}>
          {scheme && <span class="scheme">{scheme}</span>}
          {scheme ? <span>{name.slice(scheme.length)}</span> : name}
          {provider && provider !== "file" && <span class="provider">@{provider}</span>}
        </span>
        {about.slice(1).map((each) => (
          <State key={each.word} of={each} quiet />
        ))}
        {node.kind !== "entrypoint" && label(node) && <span class="tag">{label(node)}</span>}
      </span>
      <span class="line">
        <Facts node={node} />
        {node.kind === "entrypoint" && <span class="tag">{label(node)}</span>}
        {share && <Share node={share} state={liveOf(share.id)} brief />}
      </span>
    </a>
  );
}

function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver((entries) => setWidth(entries[0]!.contentRect.width));
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return [box, width];
}

function isLit(edge: Edge, { nodes, routers }: Ways): boolean {
  return nodes.has(edge.from) && nodes.has(edge.to) && (!edge.by || [...edge.by].some((each) => routers.has(each) || nodes.has(each)));
}

function Edges({ picture, lefts, width, lit }: { picture: Picture; lefts: Record<Column, [number, number]>; width: number; lit: Ways | null }): JSX.Element {
  const places = new Map<string, [Column, Placed]>();
  for (const column of COLUMNS) for (const place of picture.columns[column]) places.set(place.node.id, [column, place]);
  const path = (edge: Edge): string => {
    const [from, start] = places.get(edge.from)!;
    const [to, end] = places.get(edge.to)!;
    const y1 = start.y + CARD / 2;
    const y2 = end.y + CARD / 2;
    if (from === "services" && to === "services" && end.depth > start.depth) {
      const x = lefts[from][0] + start.depth * INDENT + INDENT / 2;
      return `M${x} ${start.y + CARD}V${y2}H${lefts[to][0] + end.depth * INDENT}`;
    }
    const x1 = lefts[from][0] + lefts[from][1];
    if (from === to) {
      return `M${x1} ${y1}C${x1 + 18} ${y1} ${x1 + 18} ${y2} ${x1} ${y2}`;
    }
    const x2 = lefts[to][0] + (to === "services" ? end.depth * INDENT : 0);
    // What skips a column goes straight through it, between the cards' rows.
    const bend = Math.min(60, (x2 - x1) / 2);
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  };
  return (
    <svg class="edges" width={width} height={picture.height} aria-hidden="true">
      {picture.edges.map((edge) => {
        const on = lit === null || isLit(edge, lit);
        const strength = edge.rate > 0 ? Math.min(7, 1.4 + Math.log10(1 + edge.rate) * 1.5) : 1;
        return (
          <path
            key={`${edge.from}>${edge.to}`}
            d={path(edge)}
            stroke-width={strength}
            class={`edge ${edge.rate > 0 ? "busy" : ""} ${edge.down ? "down" : ""} ${on ? "" : "dim"} ${lit !== null && on ? "lit" : ""}`}
          />
        );
      })}
    </svg>
  );
}

export function MapOf({ routers, found, idle = false }: { routers: Node[]; found: number; idle?: boolean }): JSX.Element {
  void tick.value;
  const [box, width] = useWidth();
  const [at, setAt] = useState("");
  const picture = draw(routers, found, idle);
  const wide = width >= 900;
  const lefts = useMemo(() => {
    const free = width - GAPS * GAP_PX;
    let left = 0;
    return Object.fromEntries(
      COLUMNS.map((column) => {
        const pair: [number, number] = [left, WIDTHS[column] * free];
        left += pair[1] + GAP_PX;
        return [column, pair];
      }),
    ) as Record<Column, [number, number]>;
  }, [width]);
  const lit = at && picture.edges.some((edge) => edge.from === at || edge.to === at) ? waysThrough(at, picture) : null;
  const over = (id: string) => ({
    onMouseEnter: () => setAt(id),
    onMouseLeave: () => setAt(""),
    onFocusCapture: () => setAt(id),
    onBlurCapture: () => setAt(""),
  });
  return (
    <div class={`map ${wide ? "wide" : "narrow"}`} ref={box} style={wide ? { height: `${picture.height + 32}px` } : {}}>
      {wide && <Edges picture={picture} lefts={lefts} width={width} lit={lit} />}
      {width > 0 &&
        COLUMNS.map((column) => {
          const places = picture.columns[column];
          const [left, size] = lefts[column];
          return (
            <section key={column} style={wide ? { left: `${left}px`, width: `${size}px` } : {}} aria-label={TITLES[column]}>
              <h2>
                {TITLES[column]} <span class="muted">{count(places.length)}</span>
              </h2>
              {places.length === 0 && <p class="muted none">none</p>}
              <ul>
                {places.map((place) => (
                  <li
                    key={place.node.id}
                    class={lit && !lit.nodes.has(place.node.id) ? "dim" : ""}
                    style={wide ? { top: `${place.y}px`, left: `${place.depth * INDENT}px`, height: `${CARD}px` } : { marginLeft: `${place.depth * INDENT}px` }}
                    {...over(place.node.id)}
                  >
                    <Card place={place} />
                  </li>
                ))}
                {column === "servers" &&
                  picture.rests.map((rest) => (
                    <li key={`rest ${rest.service.id}`} class="rest" style={wide ? { top: `${rest.y}px`, height: `${CARD}px` } : {}}>
                      <a href={linkOf(rest.service.id)}>
                        {counted(rest.hidden, "more server")} of {split(rest.service)[0]}
                      </a>
                    </li>
                  ))}
              </ul>
            </section>
          );
        })}
    </div>
  );
}

export function MapView(): JSX.Element {
  const { query } = route.value;
  const search = query["q"] ?? "";
  const layer = (query["layer"] ?? "") as Layer | "";
  const most = Math.max(ROUTERS, Number(query["n"]) || 0);
  const still = Math.floor(tick.value / STILL_TICKS);
  // The first events tell what has traffic: until then the order follows at once.
  const routers = useMemo(() => ordered(routersFor(search, layer, "")), [structure.value, search, layer, tick.value < 3 ? tick.value : still + 3]);
  if (!loaded.value) return <Empty>Loading…</Empty>;
  const shown = routers.slice(0, most);
  const hidden = routers.length - shown.length;
  return (
    <>
      <div class="tools">
        <Search label="Filter the map" placeholder="Filter by name, rule, address, provider" />
        <fieldset class="segments">
          <legend class="sr">Layer</legend>
          {(["", "http", "tcp", "udp"] as const).map((each) => (
            <label key={each}>
              <input type="radio" name="layer" checked={layer === each} onChange={() => amend({ layer: each })} />
              <span>{each ? each.toUpperCase() : "All"}</span>
            </label>
          ))}
        </fieldset>
      </div>
      {routers.length === 0 && <Empty>{search || layer ? "No router leads to anything that matches." : "There are no routers: nothing is configured yet."}</Empty>}
      <MapOf routers={shown} found={routers.length} idle={!search && !layer} />
      <p class="more" aria-live="polite">
        {hidden > 0 ? (
          <>
            {counted(shown.length, "router")} of {count(routers.length)}: those with faults first, then those with most traffic.{" "}
            <button type="button" onClick={() => amend({ n: most + 24 })}>
              Show {Math.min(24, hidden)} more
            </button>{" "}
            <a href={link("routers", { q: search, layer })}>List all</a>
          </>
        ) : (
          routers.length > 0 && `All ${counted(routers.length, "router")}${search || layer ? " that match" : ""}.`
        )}
      </p>
    </>
  );
}

/** The sum of what goes in, for the heading of the map. */
export function entryRate(): string {
  return perSecond(byKind.value.entrypoint.reduce((sum, node) => sum + (liveOf(node.id).rate ?? 0), 0));
}
