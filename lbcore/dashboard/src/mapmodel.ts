// Which nodes the map shows, in which order, and where: columns from entry points to servers. No DOM.

import { isLost, urgency, urgentFirst } from "./state";
import { byId, byKind, liveOf, matches, routersOf } from "./store";
import type { Layer, Node } from "./types";

export const ROUTERS = 12; // shown at first
const SERVERS = 6; // of one service
const DEPTH = 8;
export const ROW = 54;

export interface Placed {
  node: Node;
  /** How far a service lies below a service that is shown above it. */
  depth: number;
  /** Of a service that is a member: the member, which has weights and shares. */
  member?: Node;
  y: number;
}

export interface Rest {
  service: Node;
  hidden: number;
  y: number;
}

export type Column = "entrypoints" | "routers" | "middlewares" | "services" | "servers";
export const COLUMNS: Column[] = ["entrypoints", "routers", "middlewares", "services", "servers"];

export interface Edge {
  from: string;
  to: string;
  /** Requests per second that go along it, as far as they are known. */
  rate: number;
  down: boolean;
  /** The routers whose requests go along it; none of an edge between services and servers. */
  by?: Set<string>;
}

export interface Picture {
  columns: Record<Column, Placed[]>;
  rests: Rest[];
  edges: Edge[];
  height: number;
  routersShown: number;
  routersFound: number;
}

/** Routers in the order in which they ask for attention: faults, then traffic, then as configured. */
export function ordered(nodes: Node[]): Node[] {
  const rank = new Map(nodes.map((node) => [node.id, Math.min(2, serviceUrgency(node))] as const));
  // By doublings of the traffic, so that nodes with about the same do not change places all the time.
  const traffic = new Map(nodes.map((node) => [node.id, Math.round(Math.log2(1 + (liveOf(node.id).rate ?? 0)))] as const));
  return [...nodes].sort((a, b) => rank.get(a.id)! - rank.get(b.id)! || traffic.get(b.id)! - traffic.get(a.id)! || compare(a.name, b.name));
}

export const compare = new Intl.Collator("en", { numeric: true }).compare;

function serviceUrgency(router: Node): number {
  const service = router.service ? byId.value.get(router.service) : undefined;
  return Math.min(urgency(router), service ? urgency(service) : 4);
}

/** Whether a router, or anything on the way of its requests, matches. */
export function leadsTo(router: Node, test: (node: Node) => boolean): boolean {
  const nodes = byId.value;
  const seen = new Set<string>();
  const walk = (id: string | undefined, depth: number): boolean => {
    const node = id ? nodes.get(id) : undefined;
    if (!node || seen.has(node.id) || depth > DEPTH) return false;
    seen.add(node.id);
    if (test(node)) return true;
    if (node.kind === "member") return walk(node.child, depth + 1);
    if (node.kind !== "service") return false;
    return (node.members ?? []).some((member) => walk(member, depth + 1)) || (node.middlewares ?? []).some((each) => walk(each, depth + 1));
  };
  return (
    test(router) || walk(router.service, 0) || (router.middlewares ?? []).some((id) => walk(id, 0)) || (router.entryPoints ?? []).some((id) => walk(id, 0))
  );
}

export function routersFor(search: string, layer: Layer | "", focus: string): Node[] {
  let routers = byKind.value.router.filter((node) => (!layer || node.layer === layer) && !(node.provider === "internal" && !search && !focus));
  if (focus) routers = routers.filter((node) => leadsTo(node, (each) => each.id === focus));
  if (search.trim()) routers = routers.filter((node) => leadsTo(node, (each) => matches(each, search)));
  return routers;
}

/** Lay out `routers`, all on their ways, and the entry points that lead to them. `idle`: entry points without routers too. */
export function draw(routers: Node[], found: number, idle: boolean): Picture {
  const nodes = byId.value;
  const columns: Picture["columns"] = { entrypoints: [], routers: [], middlewares: [], services: [], servers: [] };
  const rests: Rest[] = [];
  const edges: Edge[] = [];
  const placed = new Map<string, Placed>();
  const links = new Map<string, Edge>();
  let row = 0;

  const join = (from: Node | undefined, to: Node | undefined, rate: number, by?: string) => {
    if (!from || !to) return;
    const known = links.get(`${from.id}>${to.id}`);
    if (known) {
      if (by) known.by?.add(by);
      known.rate += rate;
      return;
    }
    const edge: Edge = { from: from.id, to: to.id, rate, down: isLost(liveOf(to.id)) || to.status === "disabled", ...(by && { by: new Set([by]) }) };
    links.set(`${from.id}>${to.id}`, edge);
    edges.push(edge);
  };
  const put = (column: Column, node: Node, depth = 0, member?: Node): Placed => {
    const place: Placed = { node, depth, y: 0, ...(member && { member }) };
    placed.set(node.id, place);
    columns[column].push(place);
    return place;
  };

  const addService = (service: Node, depth: number, member?: Node) => {
    if (placed.has(service.id) || depth > DEPTH) return;
    const place = put("services", service, depth, member);
    const members = (service.members ?? []).map((id) => nodes.get(id)).filter((each): each is Node => !!each);
    const servers = members.filter((each) => each.server);
    const shown = new Set(urgentFirst(servers, SERVERS).slice(0, servers.length > SERVERS ? SERVERS - 1 : SERVERS));
    const first = row;
    for (const server of servers) {
      if (!shown.has(server)) continue;
      put("servers", server).y = row++ * ROW;
      join(service, server, liveOf(server.id).rate ?? 0);
    }
    if (servers.length > shown.size) rests.push({ service, hidden: servers.length - shown.size, y: row++ * ROW });
    if (row > first) place.y = ((first + row - 1) / 2) * ROW;
    const children: number[] = [];
    for (const each of members) {
      const child = each.child ? nodes.get(each.child) : undefined;
      if (!child) continue;
      addService(child, depth + 1, each);
      join(service, child, liveOf(each.id).rate ?? 0);
      children.push(placed.get(child.id)!.y);
    }
    if (children.length) place.y = Math.min(...children) - ROW;
    else if (row === first) place.y = row++ * ROW; // it has nothing below it, and a row of its own
  };

  for (const router of routers) {
    const service = router.service ? nodes.get(router.service) : undefined;
    const before = row;
    if (service) addService(service, 0);
    else row++;
    const place = put("routers", router);
    place.y = service ? (placed.get(service.id)?.y ?? before * ROW) : before * ROW;
  }
  settle(columns.services);
  for (const place of columns.routers) {
    const service = place.node.service ? placed.get(place.node.service) : undefined;
    if (service) place.y = service.y;
  }
  settle(columns.routers);

  const points = new Map<string, number[]>();
  const steps = new Map<string, number[]>();
  const add = (to: Map<string, number[]>, id: string, y: number) => (to.get(id) ?? to.set(id, []).get(id)!).push(y);
  for (const { node: router, y } of columns.routers) {
    const rate = liveOf(router.id).rate ?? 0;
    for (const point of router.entryPoints ?? []) {
      add(points, point, y);
      join(nodes.get(point), router, rate, router.id);
    }
    const way = (router.middlewares ?? []).map((id) => nodes.get(id)).filter((each): each is Node => !!each);
    const service = router.service ? nodes.get(router.service) : undefined;
    way.forEach((step) => add(steps, step.id, y));
    [router, ...way].forEach((from, place) => join(from, way[place] ?? service, rate, router.id));
    for (const parent of router.parents ?? []) join(nodes.get(parent), router, rate, router.id);
  }
  for (const { node: service, y } of columns.services) {
    for (const step of service.middlewares ?? []) {
      add(steps, step, y);
      join(nodes.get(step), service, liveOf(service.id).rate ?? 0, service.id);
    }
  }
  if (idle) {
    for (const point of byKind.value.entrypoint) {
      if (!points.has(point.id) && !routersOf.value.has(point.id)) points.set(point.id, [columns.routers.length * ROW]);
    }
  }
  const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
  const place = (column: Column, from: Map<string, number[]>) => {
    const entries = [...from].map(([id, ys]) => ({ node: nodes.get(id), y: mean(ys) })).sort((a, b) => a.y - b.y);
    for (const { node, y } of entries) if (node) put(column, node).y = y;
    settle(columns[column]);
  };
  place("entrypoints", points);
  place("middlewares", steps);

  const lowest = Math.max(0, ...COLUMNS.flatMap((column) => columns[column].map((each) => each.y)), ...rests.map((each) => each.y));
  return {
    columns,
    rests,
    edges: edges.filter((edge) => placed.has(edge.from) && placed.has(edge.to)),
    height: lowest + ROW,
    routersShown: routers.length,
    routersFound: found,
  };
}

/** Move what overlaps apart: nothing above 0, each a row below the one before it. */
function settle(places: Placed[]): void {
  let least = 0;
  for (const place of places) {
    place.y = Math.max(place.y, least);
    least = place.y + ROW;
  }
}

export interface Ways {
  nodes: Set<string>;
  routers: Set<string>;
}

/** What requests that come by a node pass: routers, what stands before and after them, services and servers. */
export function waysThrough(id: string, picture: Picture): Ways {
  const below = (start: string[]) => reached(start, picture.edges, (edge) => [edge.from, edge.to]);
  const above = (start: string[]) => reached(start, picture.edges, (edge) => [edge.to, edge.from]);
  const node = byId.value.get(id);
  const all = picture.columns.routers.map((place) => place.node);
  const found = new Set([id]);
  let routers: Node[];
  if (node?.kind === "service" || node?.kind === "member") {
    const over = above([id]);
    for (const each of [...over, ...below([id])]) found.add(each);
    routers = all.filter((router) => router.service && over.has(router.service));
  } else {
    const guarded = picture.columns.services.filter((place) => place.node.middlewares?.includes(id)).map((place) => place.node.id);
    const over = above(guarded);
    routers = all.filter(
      (router) =>
        router.id === id || router.middlewares?.includes(id) || router.entryPoints?.includes(id) || (guarded.length > 0 && over.has(router.service ?? "")),
    );
    for (const each of below(routers.map((router) => router.service ?? ""))) found.add(each);
  }
  for (const router of routers) {
    for (const each of [router.id, ...(router.middlewares ?? [])]) found.add(each);
    if (node?.kind !== "entrypoint") for (const point of router.entryPoints ?? []) found.add(point);
  }
  for (const place of picture.columns.services) {
    if (found.has(place.node.id)) for (const step of place.node.middlewares ?? []) found.add(step);
  }
  return { nodes: found, routers: new Set(routers.map((router) => router.id)) };
}

/** Services and servers that are reached from some by edges between them, with these. */
function reached(start: string[], edges: Edge[], ends: (edge: Edge) => [string, string]): Set<string> {
  const found = new Set(start);
  const turn = [...start];
  for (let at = turn.pop(); at !== undefined; at = turn.pop()) {
    for (const edge of edges) {
      const [from, to] = ends(edge);
      if (edge.by || from !== at || found.has(to)) continue;
      found.add(to);
      turn.push(to);
    }
  }
  return found;
}
