// The frame around all views: where one is, whether lbcore is there, the sums of its traffic.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Confirmation } from "./actions";
import { CertificatesView } from "./certificates";
import { Spark } from "./curves";
import { ExplainView } from "./explain";
import { clock, count, counted, lasting, moment, ms, percent, short } from "./format";
import { HealthView } from "./health";
import { Logo, Sign, State } from "./icons";
import { InstanceView } from "./instance";
import { LISTS, ListView } from "./lists";
import { MapView } from "./map";
import { MaximaView } from "./maxima";
import { NodeView } from "./node";
import { Empty, Heading, toneOf, useHistory } from "./parts";
import { ProblemLine, ProblemsView } from "./problems";
import { RequestsView } from "./requests";
import { idIn, link, route } from "./route";
import { SessionsView } from "./sessions";
import { LEGEND } from "./state";
import { byKind, connection, hello, info, lostReason, lostSince, restartedAt, tick, time, totals } from "./store";
import { type Theme, apply, theme } from "./theme";

const SHOWN_PROBLEMS = 3;
const VIEWS: [string, string, () => number | undefined][] = [
  ["", "Map", () => undefined],
  ["health", "Health", () => undefined],
  ["problems", "Problems", () => info.value?.problems.length],
  ["entrypoints", "Entry points", () => byKind.value.entrypoint.length],
  ["routers", "Routers", () => byKind.value.router.length],
  ["middlewares", "Middlewares", () => byKind.value.middleware.length],
  ["services", "Services", () => byKind.value.service.length],
  ["servers", "Servers", () => byKind.value.member.filter((each) => each.server).length],
  ["maxima", "Maxima", () => undefined],
  ["requests", "Requests", () => undefined],
  ["sessions", "Sessions", () => undefined],
  ["certificates", "Certificates", () => info.value?.certificatesTotal ?? info.value?.certificates.length],
  ["instance", "Instance", () => undefined],
  ["explain", "Explain", () => undefined],
];
const ACTIVE: Record<string, string> = { members: "servers" };

function activeView(path: string): string {
  const id = idIn(path);
  if (!id) return path;
  const kind = id.split("/")[id.startsWith("entrypoints/") ? 0 : 1]!;
  return ACTIVE[kind] ?? kind;
}

function Navigation(): JSX.Element {
  const active = activeView(route.value.path);
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [route.value.path]);
  return (
    <nav class={`views ${open ? "open" : ""}`} aria-label="Views">
      <button type="button" class="menu" aria-expanded={open} aria-controls="views" onClick={() => setOpen(!open)}>
        {VIEWS.find(([path]) => path === active)?.[1] ?? "Menu"} <span aria-hidden="true">{open ? "▲" : "▼"}</span>
      </button>
      <ul id="views">
        {VIEWS.map(([path, title, number]) => {
          const many = number();
          const alarm = path === "problems" && !!many;
          return (
            <li key={path}>
              <a href={link(path)} aria-current={path === active ? "page" : undefined}>
                {title}
                {many !== undefined && <span class={`badge ${alarm ? "alarm" : ""}`}>{count(many)}</span>}
              </a>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

function ThemeChoice(): JSX.Element {
  return (
    <label class="theme">
      <span class="sr">Colours</span>
      <select value={theme.value} onChange={(event) => apply(event.currentTarget.value as Theme)}>
        <option value="system" selected={theme.value === "system"}>As the system</option>
        <option value="light" selected={theme.value === "light"}>Light</option>
        <option value="dark" selected={theme.value === "dark"}>Dark</option>
      </select>
    </label>
  );
}

/** Whether what is shown is of now. */
function Link(): JSX.Element {
  void tick.value;
  const state = connection.value;
  if (state === "live") {
    return (
      <span class="link tone-well" title={`Last event at ${clock(time.value)}`}>
        <Sign shape="dot" size={11} /> Live
      </span>
    );
  }
  return (
    <span class={`link tone-${state === "lost" ? "bad" : "quiet"}`}>
      <Sign shape={state === "lost" ? "cross" : "wait"} size={11} /> {state === "lost" ? "No connection" : "Connecting"}
    </span>
  );
}

function Banners(): JSX.Element {
  const lost = connection.value === "lost";
  return (
    <div class="banners">
      <div role="alert">
        {lost && (
          <p class="banner bad">
            <Sign shape="cross" />
            <span>
              <strong>The connection to lbcore is lost</strong> since {clock(lostSince.value)}: {lostReason.value}.{" "}
              {tick.value > 0 ? "What is shown is of that time. " : ""}Trying again.
            </span>
          </p>
        )}
      </div>
      <div role="status">
        {info.value?.end?.stopping && !lost && (
          <p class="banner bad">
            <Sign shape="triangle" />
            <span>
              <strong>lbcore is stopping</strong>: /ping fails, and when what is under way has ended, so does the process.
            </span>
          </p>
        )}
        {info.value?.ping?.failsSince && !info.value.ping.stopping && !lost && (
          <p class="banner bad">
            <Sign shape="triangle" />
            <span>
              <strong>/ping fails by hand</strong> since {moment(info.value.ping.failsSince)}: it answers {info.value.ping.status}, so load balancers in front send
              this instance nothing. Requests that come are served. <a href={link("instance")}>Take it back</a>
            </span>
          </p>
        )}
        {restartedAt.value > 0 && !lost && (
          <p class="banner note">
            <Sign shape="ramp" />
            <span>
              <strong>lbcore was restarted</strong>: seen at {clock(restartedAt.value)}. Counters and curves begin anew.
            </span>
            <button type="button" class="small" onClick={() => (restartedAt.value = 0)}>
              Close
            </button>
          </p>
        )}
      </div>
    </div>
  );
}

function Sums(): JSX.Element {
  const history = useHistory("totals");
  const now = totals.value;
  const failing = now.rate ? Math.min(1, (now.errors ?? 0) / now.rate) : 0;
  const cpu = now.cpuWorkers?.length ? Math.max(...now.cpuWorkers) : undefined;
  const sums: [string, string, (number | null)[] | undefined, string?][] = [
    ["Requests/s", short(now.rate ?? 0), history?.rate],
    ["Errors", now.rate ? percent(failing) : "–", history?.errors, toneOf(failing)],
    ["p50", ms(now.p50), history?.p50],
    ["p95", ms(now.p95), history?.p95],
    ["p99", ms(now.p99), history?.p99],
    ["In flight", short(now.inFlight ?? 0), history?.inFlight],
    ["Queue", short(now.queue ?? 0), history?.queue, now.queue ? "failing" : ""],
    ["Connections", short(now.connections ?? 0), undefined],
    ["Retries/s", short(now.retries ?? 0), undefined],
  ];
  if (cpu !== undefined) sums.push(["Worker CPU", percent(cpu), undefined]);
  return (
    <dl class="sums" aria-label="All traffic now, with the last hour">
      {sums.map(([title, value, level, tone]) => (
        <div key={title} class={tone}>
          <dt>{title}</dt>
          <dd>{value}</dd>
          {level && <dd class="of-hour"><Spark level={level} /></dd>}
        </div>
      ))}
    </dl>
  );
}

function Front(): JSX.Element {
  const problems = info.value?.problems ?? [];
  return (
    <>
      <Heading aside={hello.value && <span class="muted">up for {lasting(time.value - hello.value.started)}</span>}>
        Traffic
      </Heading>
      <Sums />
      {problems.length > 0 && (
        <section class="front-problems" aria-label="Problems">
          <ul class="troubles">
            {problems.slice(0, SHOWN_PROBLEMS).map((problem, place) => (
              <ProblemLine key={`${problem.object} ${place}`} problem={problem} short />
            ))}
          </ul>
          {problems.length > SHOWN_PROBLEMS && (
            <p>
              <a href={link("problems")}>All {counted(problems.length, "problem")}</a>
            </p>
          )}
        </section>
      )}
      <MapView />
      <details class="legend">
        <summary>What the signs mean</summary>
        <ul>
          {LEGEND.map((each) => (
            <li key={each.word}>
              <State of={each} /> <span class="muted">{each.about}</span>
            </li>
          ))}
        </ul>
      </details>
    </>
  );
}

function View(): JSX.Element {
  const { path } = route.value;
  const id = idIn(path);
  if (id) return <NodeView id={id} key={id} />;
  if (path in LISTS) return <ListView name={path} key={path} />;
  switch (path) {
    case "":
      return <Front />;
    case "health":
      return <HealthView />;
    case "problems":
      return <ProblemsView />;
    case "maxima":
      return <MaximaView />;
    case "requests":
      return <RequestsView />;
    case "sessions":
      return <SessionsView />;
    case "certificates":
      return <CertificatesView />;
    case "instance":
      return <InstanceView />;
    case "explain":
      return <ExplainView />;
  }
  return (
    <>
      <Heading>No such view</Heading>
      <Empty>
        <a href="#/">Back to the map</a>
      </Empty>
    </>
  );
}

export function titleOf(): string {
  const view = VIEWS.find(([path]) => path === activeView(route.value.path))?.[1] ?? "";
  const id = idIn(route.value.path);
  const place = id ? id.split("/").slice(id.startsWith("entrypoints/") ? 1 : 2).join("/") : view;
  const problems = info.value?.problems.length ?? 0;
  const sign = connection.value === "lost" ? "✕ no connection · " : problems ? `(${problems}) ` : "";
  return `${sign}${place} · lbcore`;
}

export function App(): JSX.Element {
  return (
    <div class={`frame ${connection.value}`}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>("main h1")?.focus(); }}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="#/">
          <Logo /> lbcore
        </a>
        <span class="muted version">{hello.value?.version}</span>
        <Link />
        <ThemeChoice />
      </header>
      <Navigation />
      <main id="main">
        <Banners />
        <View />
      </main>
      <Confirmation />
    </div>
  );
}
