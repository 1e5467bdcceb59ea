// Dark or light: as the system says, or as chosen here.

import { computed, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const KEY = "lbcore-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);

function kept(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return found === "light" || found === "dark" ? found : "system";
  } catch {
    return "system"; // storage is forbidden here
  }
}

export const theme = signal<Theme>(kept());
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));

system.addEventListener("change", (event) => (systemDark.value = event.matches));

export function apply(chosen: Theme): void {
  theme.value = chosen;
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // it holds until the page is closed
  }
}

apply(theme.value);
