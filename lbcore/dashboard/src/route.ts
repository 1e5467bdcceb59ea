// Where the page is: the fragment of the address, `#/path?key=value`, so that every view has a link of its own.

import { signal } from "@preact/signals";

export interface Route {
  path: string;
  query: Record<string, string>;
}

function parse(): Route {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { path: path ?? "", query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export const route = signal<Route>(parse());

addEventListener("hashchange", () => {
  const before = route.value.path;
  route.value = parse();
  if (before !== route.value.path) {
    scrollTo(0, 0);
    // The heading of the new view takes the focus, so that a screen reader says where it is.
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true }));
  }
});

/** The fragment of a view, with the query values that are not empty. */
export function link(path: string, query: Record<string, string | number | undefined> = {}): string {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(kept.map(([key, value]) => [key, String(value)])).toString();
  return `#/${path}${text && `?${text}`}`;
}

/** The fragment of the page of a node. */
export function linkOf(id: string): string {
  const parts = id.split("/");
  const head = parts.splice(0, parts[0] === "entrypoints" ? 1 : 2);
  const name = encodeURIComponent(parts.join("/")).replace(/%40/g, "@").replace(/%3A/g, ":");
  return `#/${[...head, name].join("/")}`;
}

/** The id of the node whose page a path is; empty for other views. */
export function idIn(path: string): string {
  if (!/^(entrypoints|(http|tcp|udp)\/(routers|middlewares|services|members))\/./.test(path)) return "";
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Change values of the query, without an entry in the history of the browser. */
export function amend(changes: Record<string, string | number | undefined>): void {
  const { path, query } = route.value;
  history.replaceState(null, "", link(path, { ...query, ...changes }));
  route.value = parse();
}
