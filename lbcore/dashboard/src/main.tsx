// The start of the page.

import { effect } from "@preact/signals";
import { render } from "preact";

import { App, titleOf } from "./app";
import { connection, follow, info } from "./store";
import "./style.css";

/** The sign of the tab says whether all is well, also while another tab is looked at. */
function icon(state: "well" | "warn" | "lost"): string {
  const inside = {
    well: "<circle cx='8' cy='8' r='6' fill='#1f9d61'/>",
    warn: "<path d='M8 1.500l7 13H1z' fill='#e0a100'/>",
    lost: "<path d='M3 3l10 10M13 3L3 13' stroke='#d93a2f' stroke-width='3.5' stroke-linecap='round'/>",
  }[state];
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${inside}</svg>`)}`;
}

effect(() => {
  document.title = titleOf();
});
effect(() => {
  const state = connection.value === "lost" ? "lost" : info.value?.problems.length ? "warn" : "well";
  document.querySelector<HTMLLinkElement>("link[rel=icon]")!.href = icon(state);
});

// "/" leads to the search field of the view, as in other tools.
addEventListener("keydown", (event) => {
  const target = event.target as HTMLElement;
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
  const field = document.querySelector<HTMLInputElement>("[data-search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

const page = document.getElementById("page")!;
page.replaceChildren();
render(<App />, page);
follow();
