// What is wrong now: traffic that is lost first, each with its place in the files.

import type { JSX } from "preact";

import { counted } from "./format";
import { Sign } from "./icons";
import { Empty, Heading, Paging, Search, pageOf } from "./parts";
import { link, linkOf, route } from "./route";
import { byId, info } from "./store";
import type { Problem } from "./types";

const MOST_TRAFFIC = 10; // routers that are named of a problem
const SEVERITIES = { lost: "Lost", degraded: "Degraded", warning: "Warning" };

/** Where more is said about what a problem is about; empty: nowhere. */
function placeOf(problem: Problem): string {
  if (problem.id) return byId.value.has(problem.id) ? linkOf(problem.id) : "";
  const [kind = "", name = ""] = problem.object.split(" ");
  if (kind === "certificate") return link("certificates", { q: name.replace(/,$/, "") });
  return kind === "provider" || kind === "worker" || problem.object === "configuration" ? link("instance") : "";
}

export function ProblemLine({ problem, short = false }: { problem: Problem; short?: boolean }): JSX.Element {
  const lost = problem.severity === "lost";
  const place = placeOf(problem);
  return (
    <li class={`trouble tone-${lost ? "bad" : "warn"}`}>
      <Sign shape={lost ? "cross" : "triangle"} />
      <div>
        <p>
          <strong class="severity">{SEVERITIES[problem.severity]}</strong>{" "}
          {place ? <a href={place}>{problem.object}</a> : <span>{problem.object}</span>}
        </p>
        <p>{problem.text}</p>
        {!short && !!problem.traffic?.length && (
          <ul class="traffic">
            {problem.traffic.slice(0, MOST_TRAFFIC).map((each) => (
              <li key={each}>{each}</li>
            ))}
            {problem.traffic.length > MOST_TRAFFIC && <li>and {counted(problem.traffic.length - MOST_TRAFFIC, "more router")}</li>}
          </ul>
        )}
        {problem.file && (
          <p class="muted">
            <code>{`${problem.file}${problem.line ? `:${problem.line}` : ""}`}</code>
          </p>
        )}
      </div>
    </li>
  );
}

export function ProblemsView(): JSX.Element {
  const all = info.value?.problems;
  if (!all) return <Empty>Loading…</Empty>;
  const search = (route.value.query["q"] ?? "").toLowerCase();
  const found = all.filter((problem) => `${problem.object} ${problem.text} ${problem.file ?? ""}`.toLowerCase().includes(search));
  const { shown, page, pages } = pageOf(found);
  const lost = all.filter((problem) => problem.severity === "lost").length;
  return (
    <>
      <Heading>Problems</Heading>
      {all.length === 0 ? (
        <p class="fine">
          <Sign shape="dot" /> All is well: nothing is down, refused, or without effect.
        </p>
      ) : (
        <>
          <p>
            {lost ? `${counted(lost, "problem")} take${lost === 1 ? "s" : ""} traffic away; ` : "No traffic is lost; "}
            {counted(all.length - lost, "other problem")} {all.length - lost === 1 ? "does" : "do"} not.
          </p>
          <div class="tools">
            <Search label="Search problems" placeholder="Object, text, file" />
          </div>
          <ul class="troubles">
            {shown.map((problem, place) => (
              <ProblemLine key={`${problem.object} ${place}`} problem={problem} />
            ))}
          </ul>
          <Paging page={page} pages={pages} found={found.length} all={all.length} what="problem" />
        </>
      )}
    </>
  );
}
