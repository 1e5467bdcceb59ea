// Shapes of states, and the few other signs of the page. All are hidden from screen readers: words stand beside them.

import type { JSX } from "preact";

import type { Condition, Shape } from "./state";

const PATHS: Record<Shape, JSX.Element> = {
  dot: <circle cx="8" cy="8" r="5" fill="currentColor" stroke="none" />,
  ring: <circle cx="8" cy="8" r="4.2" />,
  cross: <path d="M3.5 3.5l9 9M12.5 3.5l-9 9" stroke-width="2.6" />,
  eject: <path d="M8 2.5l5.5 6.5h-11zM2.5 12.7h11" fill="currentColor" />,
  half: (
    <>
      <circle cx="8" cy="8" r="5" />
      <path d="M8 3a5 5 0 0 1 0 10z" fill="currentColor" stroke="none" />
    </>
  ),
  drain: <path d="M8 2v7.5M4.7 6.5L8 9.8l3.3-3.3M2.5 13.5h11" />,
  hand: (
    <>
      <rect x="2.8" y="2.8" width="10.4" height="10.4" rx="1.5" />
      <path d="M6.3 5.5v5M9.7 5.5v5" />
    </>
  ),
  ramp: <path d="M2.5 13.5v-2.5h3.7v-3.5h3.7v-4h3.6v10z" fill="currentColor" stroke-width="1" />,
  pin: (
    <>
      <path d="M2 5h6M12 5h2M2 11h2M8 11h6" />
      <circle cx="10" cy="5" r="1.9" />
      <circle cx="6" cy="11" r="1.9" />
    </>
  ),
  full: <path d="M3 2.5v11h10v-11M3 6h10v7.5h-10z" fill="currentColor" />,
  slash: (
    <>
      <circle cx="8" cy="8" r="5.5" />
      <path d="M4.2 11.8l7.6-7.6" />
    </>
  ),
  broken: <path d="M1.5 8h4M10.5 8h4M6.3 12.2l1-3M8.7 6.8l1-3" stroke-width="2.2" />,
  clock: (
    <>
      <circle cx="8" cy="8" r="5.5" />
      <path d="M8 4.8V8l2.3 1.6" />
    </>
  ),
  triangle: (
    <>
      <path d="M8 2.2l6.2 11.3H1.8z" />
      <path d="M8 6.3v3.4M8 11.4v.4" />
    </>
  ),
  tick: <path d="M3 8.5l3.3 3.3L13 4.8" />,
  dash: <path d="M4 8h8" />,
  wait: <path d="M4 2.5h8M4 13.5h8M5 2.5c0 4 6 4.5 6 11M11 2.5c0 4-6 4.5-6 11" />,
};

export function Sign({ shape, size = 14 }: { shape: Shape; size?: number }): JSX.Element {
  return (
    <svg class="sign" width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {PATHS[shape]}
    </svg>
  );
}

/** A state with its shape and its word. */
export function State({ of, quiet = false }: { of: Condition; quiet?: boolean }): JSX.Element {
  return (
    <span class={`state tone-${of.tone}`} title={of.about}>
      <Sign shape={of.shape} />
      <span class={quiet ? "sr" : ""}>{of.word}</span>
    </span>
  );
}

export function Logo(): JSX.Element {
  return (
    <svg class="logo" width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" aria-hidden="true">
      <path d="M3 12h4c4 0 4-7 9-7h2M7 12h11M7 12c4 0 4 7 9 7h2" />
      <circle cx="20" cy="5" r="1.8" fill="currentColor" stroke="none" />
      <circle cx="20" cy="12" r="1.8" fill="currentColor" stroke="none" />
      <circle cx="20" cy="19" r="1.8" fill="currentColor" stroke="none" />
    </svg>
  );
}
