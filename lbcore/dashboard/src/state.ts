// The state of a node in words, each with a shape of its own. Colour only repeats what the shape and the word say.

import { byId, liveOf } from "./store";
import type { Live, Node, Word } from "./types";

export type Tone = "well" | "quiet" | "note" | "warn" | "bad";
export type Shape =
  | "dot" | "ring" | "cross" | "eject" | "half" | "drain" | "hand" | "ramp" | "pin" | "full" | "slash" | "broken" | "clock" | "triangle" | "wait" | "tick" | "dash";

export interface Condition {
  word: string;
  shape: Shape;
  tone: Tone;
  about: string;
}

// In the order of their weight: what asks for attention first.
const OF_WORD: Record<Word, Condition> = {
  disabled: { word: "disabled", shape: "slash", tone: "bad", about: "Its configuration has errors: it does not run." },
  down: { word: "down", shape: "cross", tone: "bad", about: "It answers no request: its health check fails, or nothing below it can answer." },
  unreached: { word: "unreached", shape: "broken", tone: "bad", about: "No connection to it can be made. No health check watches it, so it still gets its part of the requests." },
  ejected: { word: "ejected", shape: "eject", tone: "bad", about: "Too many requests to it failed: it gets none until its time is over." },
  "taken-out": { word: "ejected by hand", shape: "hand", tone: "warn", about: "It was taken out by hand: it gets no requests at all." },
  full: { word: "full", shape: "full", tone: "warn", about: "It has as many requests in flight as maxConnections allows." },
  onTrial: { word: "on trial", shape: "half", tone: "warn", about: "Its ejection is over: the next requests decide." },
  draining: { word: "draining", shape: "wait", tone: "warn", about: "Its weight is 0: it gets no new clients, and what is in flight at it finishes." },
  kept: { word: "previous version", shape: "clock", tone: "warn", about: "Its new configuration has errors: the one before runs." },
  drained: { word: "drained", shape: "drain", tone: "note", about: "Its weight is 0: only sessions that it has already reach it." },
  "slow-starting": { word: "slow start", shape: "ramp", tone: "note", about: "It came up lately: its part of the requests grows." },
  overridden: { word: "overridden", shape: "pin", tone: "note", about: "Its weight was set by hand and differs from the configuration." },
};
const DEGRADED: Condition = { word: "degraded", shape: "triangle", tone: "warn", about: "It answers, and a part below it does not." };
const WARNING: Condition = { word: "warning", shape: "triangle", tone: "warn", about: "It runs, and something in its configuration has no effect." };
const BUSY: Condition = { word: "up", shape: "dot", tone: "well", about: "It is up and has traffic." };
const IDLE: Condition = { word: "idle", shape: "ring", tone: "quiet", about: "It is up and has no traffic now." };
const ENABLED: Condition = { word: "enabled", shape: "tick", tone: "quiet", about: "Requests pass it." };
const UNUSED: Condition = { word: "unused", shape: "dash", tone: "quiet", about: "Nothing refers to it." };
export const LEGEND = [BUSY, IDLE, ENABLED, UNUSED, DEGRADED, ...Object.values(OF_WORD), WARNING];
export const STATES = [...LEGEND.map((each) => each.word)];

const ORDER = Object.keys(OF_WORD) as Word[];

/** Whether no request to a node is answered, as far as is known. */
export function isLost(state: Live): boolean {
  return !!state.down || !!state.states?.some((word) => word === "down" || word === "unreached");
}

function hasFault(id: string, left = 12): boolean {
  const node = byId.value.get(id);
  if (!node || left === 0) return false;
  const state = liveOf(id);
  if (isLost(state) || state.states?.includes("ejected")) return true;
  if (node.kind === "member") return node.child ? hasFault(node.child, left - 1) : false;
  return node.members?.some((member) => hasFault(member, left - 1)) ?? false;
}

/** All that is to be said of a node, the most important first; at least one. */
export function conditions(node: Node, state: Live = liveOf(node.id)): Condition[] {
  const words = new Set(state.states ?? []);
  if (state.down && !words.has("ejected") && !words.has("taken-out")) words.add("down");
  // A part that is ejected or taken out is down for that reason: the reason is what to say.
  if (words.has("ejected") || words.has("taken-out")) words.delete("down");
  if (node.status === "disabled") words.add("disabled");
  const found = ORDER.filter((word) => words.has(word)).map((word) => OF_WORD[word]);
  const child = node.kind === "member" ? node.child : undefined;
  if (!found.some((each) => each.tone === "bad")) {
    if (node.status === "warning") found.push(WARNING);
    if ((node.kind === "service" || child) && hasFault(child ?? node.id)) found.unshift(DEGRADED);
  }
  if (found.length === 0 && node.kind === "middleware") found.push(state.rate ? BUSY : node.usedBy?.length ? ENABLED : UNUSED);
  if (found.length === 0) found.push((state.rate ?? 0) > 0 || (state.inFlight ?? 0) > 0 ? BUSY : IDLE);
  return found;
}

const RANK: Record<Tone, number> = { bad: 0, warn: 1, note: 2, well: 3, quiet: 4 };

/** How much a node asks for attention: 0 most. */
export function urgency(node: Node): number {
  return RANK[conditions(node)[0]!.tone];
}

/** Nodes in the order of the configuration if there is room for all; else those with faults before the others. */
export function urgentFirst(nodes: Node[], room: number): Node[] {
  if (nodes.length <= room) return nodes;
  const rank = new Map(nodes.map((node) => [node, Math.min(urgency(node), RANK.note)]));
  return [...nodes].sort((a, b) => rank.get(a)! - rank.get(b)!);
}
