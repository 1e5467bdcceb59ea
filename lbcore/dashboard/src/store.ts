// What the page knows of lbcore: the structure, what is live, and whether the connection stands.

import { batch, computed, signal } from "@preact/signals";

import type { Hello, History, Info, Kind, Live, Node, Structure, Tick, Totals } from "./types";

export const API = "../api/";
const AGAIN_MS = 2000;
const SILENT_INTERVALS = 3;

export type Connection = "connecting" | "live" | "lost";

export const connection = signal<Connection>("connecting");
export const lostSince = signal(0);
export const lostReason = signal("");
export const hello = signal<Hello | null>(null);
/** When lbcore was seen to have started anew while this page was open; 0: it was not. */
export const restartedAt = signal(0);
export const totals = signal<Totals>({});
export const time = signal(Date.now());
/** Counts events of the stream: what shows `live` reads it. */
export const tick = signal(0);
export const live = new Map<string, Live>();
export const structure = signal<Structure>({ version: "", generation: 0, nodes: [] });
export const info = signal<Info | null>(null);
export const loaded = computed(() => structure.value.version !== "");

export const byId = computed(() => new Map(structure.value.nodes.map((node) => [node.id, node])));
export const byKind = computed(() => {
  const found: Record<Kind, Node[]> = { entrypoint: [], router: [], middleware: [], service: [], member: [] };
  for (const node of structure.value.nodes) found[node.kind].push(node);
  return found;
});
/** By id of a service: the members that are this service. */
export const parentsOf = computed(() => {
  const found = new Map<string, Node[]>();
  for (const node of byKind.value.member) {
    if (node.child) (found.get(node.child) ?? found.set(node.child, []).get(node.child)!).push(node);
  }
  return found;
});
/** By id of an entry point: its routers. */
export const routersOf = computed(() => {
  const found = new Map<string, Node[]>();
  for (const node of byKind.value.router) {
    for (const point of node.entryPoints ?? []) (found.get(point) ?? found.set(point, []).get(point)!).push(node);
  }
  return found;
});
const texts = computed(() => {
  const found = new Map<string, string>();
  for (const node of structure.value.nodes) {
    found.set(node.id, [node.name, node.rule, node.key, node.provider, node.type, node.address].join(" ").toLowerCase());
  }
  return found;
});

/** Whether all words of a search occur in what a node is. */
export function matches(node: Node, search: string): boolean {
  const text = texts.value.get(node.id) ?? "";
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** What is live at a node. Whatever is shown by it is shown anew with each event. */
export function liveOf(id: string): Live {
  void tick.value;
  return live.get(id) ?? {};
}

/** Raises Error with a text for users. */
export async function ask<T>(path: string, options: RequestInit = {}): Promise<T> {
  const answer = await fetch(API + path, { cache: "no-cache", ...options });
  const text = await answer.text();
  let content: unknown = null;
  try {
    content = JSON.parse(text);
  } catch {
    if (answer.ok) throw new Error("lbcore's answer is no JSON");
  }
  if (!answer.ok) {
    const message = (content as { message?: string } | null)?.message ?? `${answer.status} ${answer.statusText}`;
    throw Object.assign(new Error(message), { status: answer.status, content });
  }
  return content as T;
}

export function historyOf(id: string): Promise<History> {
  return ask<History>(`history?id=${encodeURIComponent(id)}`);
}

async function loadStructure(): Promise<void> {
  structure.value = await ask<Structure>("structure");
}

async function loadInfo(): Promise<void> {
  info.value = await ask<Info>("info");
}

let source: EventSource | undefined;
let heardAt = 0;
let again: ReturnType<typeof setTimeout> | undefined;

function lose(reason: string): void {
  if (connection.value !== "lost") {
    batch(() => {
      connection.value = "lost";
      lostSince.value = Date.now();
    });
  }
  lostReason.value = reason;
}

/** What cannot be loaded now is loaded after the next connection. */
function loading(work: Promise<void>): void {
  work.catch((error: Error) => {
    lose(error.message);
    reopen();
  });
}

function reopen(): void {
  source?.close();
  clearTimeout(again);
  again = setTimeout(open, AGAIN_MS);
}

function greet(greeting: Hello): void {
  const before = hello.value;
  batch(() => {
    if (before && before.instance !== greeting.instance) restartedAt.value = Date.now();
    if (before?.instance !== greeting.instance) live.clear();
    hello.value = greeting;
  });
  if (structure.value.version !== greeting.structure || before?.instance !== greeting.instance) loading(loadStructure());
  loading(loadInfo());
}

function take(event: Tick, whole: boolean): void {
  batch(() => {
    if (whole) live.clear();
    for (const [id, state] of Object.entries(event.nodes)) {
      if (state) live.set(id, state);
      else live.delete(id);
    }
    totals.value = event.totals;
    time.value = event.time;
    tick.value++;
    connection.value = "live";
    lostReason.value = "";
  });
}

function open(): void {
  source?.close();
  const opened = (source = new EventSource(`${API}live`));
  heardAt = Date.now();
  const hear = (name: string, act: (data: never) => void) =>
    opened.addEventListener(name, (event) => {
      heardAt = Date.now();
      act(JSON.parse((event as MessageEvent<string>).data) as never);
    });
  hear("hello", greet);
  hear("state", (event: Tick) => take(event, true));
  hear("change", (event: Tick) => take(event, false));
  hear("structure", () => loading(loadStructure()));
  hear("info", () => loading(loadInfo()));
  opened.onerror = () => {
    lose("the connection was closed");
    if (opened.readyState !== EventSource.CLOSED) return; // it tries again by itself
    reopen();
    ask("live", { headers: { Accept: "text/event-stream" }, signal: AbortSignal.timeout(AGAIN_MS) }).catch((error: Error & { status?: number }) => {
      if (error.status) lostReason.value = error.message;
    });
  };
}

/** Follow lbcore for as long as the page is open. */
export function follow(): void {
  open();
  setInterval(() => {
    const interval = hello.value?.interval ?? 1000;
    if (Date.now() - heardAt <= SILENT_INTERVALS * interval) return;
    lose("nothing came from it");
    heardAt = Date.now(); // for the next attempt
    open();
  }, 500);
}
