// Curves of the last hour, drawn by uPlot, and small ones without axes.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { clock } from "./format";
import { dark } from "./theme";
import type { History } from "./types";

export interface Series {
  label: string;
  values: (number | null)[];
  /** A colour of the style sheet. */
  colour: string;
  dash?: number[];
}

interface Chart {
  title: string;
  times: number[];
  series: Series[];
  show: (value: number) => string;
}

const HEIGHT = 132;
const AXIS_PX = 52;
const LEAST_S = 600; // that the time axis spans

/** The value of a colour of the style sheet in the present theme. */
function colourOf(element: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function plot(element: HTMLElement, chart: Chart, onCursor: (index: number | null) => void): uPlot {
  const [ink, line] = [colourOf(element, "muted"), colourOf(element, "line")];
  const font = `11px ${getComputedStyle(element).fontFamily}`;
  const grid = { stroke: line, width: 1 };
  const options: uPlot.Options = {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: { key: "hour" } },
    scales: { x: { time: true, range: (_, first, last) => [Math.min(first, last - LEAST_S), last] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] } },
    axes: [
      { stroke: ink, font, grid: { show: false }, ticks: { stroke: line, size: 4 }, size: 24, space: 60, values: (_, splits) => splits.map((each) => clock(each * 1000).slice(0, 5)) },
      { stroke: ink, font, grid, ticks: { show: false }, size: AXIS_PX, space: 30, values: (_, splits) => splits.map(chart.show) },
    ],
    series: [
      {},
      ...chart.series.map((each) => ({
        label: each.label,
        stroke: colourOf(element, each.colour),
        width: 1.6,
        ...(each.dash && { dash: each.dash }),
        points: { show: false },
        spanGaps: false,
      })),
    ],
    hooks: { setCursor: [(own) => onCursor(own.cursor.idx ?? null)] },
  };
  return new uPlot(options, [chart.times, ...chart.series.map((each) => each.values)] as uPlot.AlignedData, element);
}

export function Curve({ title, times, series, show }: Chart): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const theme = dark.value;
  const names = series.map((each) => each.label).join();
  useEffect(() => {
    const element = box.current!;
    const own = (drawn.current = plot(element, { title, times, series, show }, setAt));
    const watch = new ResizeObserver(() => element.clientWidth && own.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      own.destroy();
    };
  }, [theme, names]);
  useEffect(() => drawn.current?.setData([times, ...series.map((each) => each.values)] as uPlot.AlignedData), [times, ...series.map((each) => each.values)]);
  const last = times.length - 1;
  const place = at !== null && at <= last ? at : last;
  const summary = series.map((each) => {
    const known = each.values.filter((value): value is number => value !== null);
    return known.length ? `${each.label}: last ${show(known.at(-1)!)}, highest ${show(Math.max(...known))}` : `${each.label}: nothing measured`;
  });
  return (
    <figure class="curve">
      <figcaption>
        <strong>{title}</strong>
        {series.map((each) => {
          const value = each.values[place];
          return (
            <span key={each.label} class="key">
              <svg width="18" height="8" aria-hidden="true">
                <line x1="1" y1="4" x2="17" y2="4" stroke={`var(--${each.colour})`} stroke-width="2" stroke-dasharray={each.dash?.join(" ")} />
              </svg>
              {each.label} <b>{value === null || value === undefined ? "–" : show(value)}</b>
            </span>
          );
        })}
        <span class="muted at">{place >= 0 ? clock(times[place]! * 1000) : ""}</span>
      </figcaption>
      <div ref={box} role="img" aria-label={`${title}, the last hour. ${summary.join("; ")}.`} />
    </figure>
  );
}

/** A line without axes. `level`: the values, oldest first. */
export function Spark({ level }: { level: (number | null)[] }): JSX.Element {
  const most = Math.max(...level.map((value) => value ?? 0), 0);
  const step = level.length > 1 ? 100 / (level.length - 1) : 0;
  const points = level.map((value, place) => `${(place * step).toFixed(1)},${(22 - (most ? ((value ?? 0) / most) * 20 : 0)).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      {level.length > 1 && <polyline points={points.join(" ")} fill="none" stroke="currentColor" vector-effect="non-scaling-stroke" stroke-width="1.4" />}
    </svg>
  );
}

export function historySeries(history: History): Record<"traffic" | "latency" | "load", Series[]> {
  return {
    traffic: [
      { label: "all", values: history.rate, colour: "accent" },
      { label: "errors", values: history.errors, colour: "bad", dash: [4, 3] },
    ],
    latency: [
      { label: "p50", values: history.p50, colour: "accent", dash: [2, 3] },
      { label: "p95", values: history.p95, colour: "accent" },
      { label: "p99", values: history.p99, colour: "warn", dash: [6, 3] },
    ],
    load: [
      { label: "in flight", values: history.inFlight, colour: "accent" },
      { label: "queue", values: history.queue, colour: "warn", dash: [4, 3] },
    ],
  };
}
