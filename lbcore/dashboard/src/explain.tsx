// Why a request goes where it goes: asked by a form, answered line by line.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Sign } from "./icons";
import { Heading } from "./parts";
import { amend, route } from "./route";
import { ask, byKind, loaded, routersOf } from "./store";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

interface Line {
  text: string;
  depth: number;
  taken: boolean;
}

function read(line: string): Line {
  const bare = line.trimStart();
  const taken = bare.startsWith("->") || / matches$/.test(bare) || /^(server|answer):/.test(bare);
  return { text: bare.replace(/^->\s*/, ""), depth: Math.floor((line.length - bare.length) / 2), taken };
}

/** Entry points with routers of HTTP. */
function pointsOfHttp(): string[] {
  return byKind.value.entrypoint.filter((point) => routersOf.value.get(point.id)?.some((router) => router.layer === "http")).map((point) => point.name);
}

/** Where a request for a URL would come in: at an entry point with TLS if it is one of https. */
function entryPointFor(url: string): string {
  const secure = url.startsWith("https:");
  const fits = (name: string) => !!routersOf.value.get(`entrypoints/${name}`)?.some((router) => router.provider !== "internal" && !!router.tls === secure);
  const points = pointsOfHttp();
  return points.find(fits) ?? points[0] ?? "";
}

export function ExplainView(): JSX.Element {
  const { query } = route.value;
  const [lines, setLines] = useState<Line[] | null>(null);
  const [problem, setProblem] = useState("");
  const method = query["method"] || "GET";
  const submit = async (event?: Event) => {
    event?.preventDefault();
    setProblem("");
    try {
      const answer = await ask<{ lines: string[] }>("explain", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          request: `${method} ${query["url"] ?? ""}`,
          headers: (query["headers"] ?? "").split("\n").filter((line) => line.trim()),
          ...(query["client"] && { client: query["client"] }),
          entryPoint: query["entrypoint"] || entryPointFor(query["url"] ?? ""),
        }),
      });
      setLines(answer.lines.map(read));
    } catch (error) {
      setLines(null);
      setProblem((error as Error).message);
    }
  };
  useEffect(() => {
    if (query["url"] && loaded.value) void submit(); // a link to an explanation shows it
  }, [loaded.value]);
  const points = pointsOfHttp();
  return (
    <>
      <Heading>Explain a request</Heading>
      <p>Which router takes a request, which middlewares it passes, and which server would get it. Nothing is sent to a server.</p>
      <form class="explain" onSubmit={submit}>
        <div class="beside">
          <label class="field">
            <span>Method</span>
            <select value={method} onChange={(event) => amend({ method: event.currentTarget.value })}>
              {METHODS.map((each) => (
                <option key={each} value={each} selected={each === method}>
                  {each}
                </option>
              ))}
            </select>
          </label>
          <label class="field grow">
            <span>URL</span>
            <input
              type="url"
              required
              placeholder="https://shop.example/cart"
              value={query["url"] ?? ""}
              onInput={(event) => amend({ url: event.currentTarget.value })}
              spellcheck={false}
            />
          </label>
        </div>
        <div class="beside">
          <label class="field">
            <span>Entry point</span>
            <select value={query["entrypoint"] ?? ""} onChange={(event) => amend({ entrypoint: event.currentTarget.value })}>
              <option value="">by the URL</option>
              {points.map((point) => (
                <option key={point} value={point} selected={point === query["entrypoint"]}>
                  {point}
                </option>
              ))}
            </select>
          </label>
          <label class="field grow">
            <span>Address of the client</span>
            <input type="text" placeholder="192.0.2.1" value={query["client"] ?? ""} onInput={(event) => amend({ client: event.currentTarget.value })} />
          </label>
        </div>
        <label class="field">
          <span>Headers, one a line</span>
          <textarea rows={3} placeholder="X-QA: 1" value={query["headers"] ?? ""} onInput={(event) => amend({ headers: event.currentTarget.value })} spellcheck={false} />
        </label>
        <p class="actions">
          <button type="submit" class="primary">
            Explain
          </button>
        </p>
      </form>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {lines && (
        <section aria-live="polite">
          <h2>The way of this request</h2>
          <ol class="explanation">
            {lines.map((line, place) => (
              <li key={place} class={`${line.taken ? "taken" : ""} depth-${Math.min(line.depth, 6)}`}>
                <span class="mark">{line.taken && <Sign shape="dot" size={10} />}</span>
                {line.text}
              </li>
            ))}
          </ol>
        </section>
      )}
    </>
  );
}
