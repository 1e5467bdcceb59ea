// Changes of weights, of what takes requests, and of the instance itself: each with the token and a confirmation.

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Sign } from "./icons";
import { split } from "./parts";
import { ask, byId, connection, hello, liveOf } from "./store";
import type { End, LogLevel, Node, Ping } from "./types";

interface Action {
  title: string;
  effect: string;
  confirm: string;
  /** Weights to set by key of the member; undefined: nothing to fill in. */
  weights?: Record<string, number>;
  /** Texts to fill in. */
  fields?: Field[];
  /** It takes something away from those who send requests. */
  grave?: boolean;
  send: (weights: Record<string, number>, force: boolean, texts: Record<string, string>) => Promise<{ message?: string } | null>;
}

interface Field {
  name: string;
  label: string;
  value: string;
  /** One of these; undefined: any text. */
  options?: string[];
  hint?: string;
}

/** The token is known until the page is closed; it is stored nowhere. */
const token = signal("");
const pending = signal<Action | null>(null);
const said = signal("");

function change<T>(path: string, method: string, body?: unknown): Promise<T> {
  // `Authorization` may belong to a login in front of the API.
  const headers = { "X-Lbcore-Token": token.value, "Content-Type": "application/json" };
  return ask<T>(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

function serviceOf(member: Node): Node | undefined {
  return byId.value.get(member.service ?? "");
}

function pathOf(service: Node): string {
  return `${service.layer}/services/${encodeURIComponent(service.name)}`;
}

const VERBS = {
  drain: ["Drain", "It gets no new sessions or requests; requests of its sessions still reach it.", "Drain"],
  undrain: ["End the drain of", "It gets its weight of the configuration back.", "End drain"],
  eject: ["Eject", "It gets no request at all any more, also none of its sessions. Requests under way finish.", "Eject"],
  reset: ["Reset", "Its weight is that of the configuration, and it is not ejected.", "Reset"],
} as const;

function memberAction(member: Node, verb: keyof typeof VERBS): void {
  const service = serviceOf(member)!;
  const [title, effect, confirm] = VERBS[verb];
  pending.value = {
    title: `${title} ${member.key}`,
    effect: `${effect} Service: ${service.name}.`,
    confirm,
    send: (_, force) => change(`${pathOf(service)}/members`, "POST", { member: member.key, action: verb, ...(force && { force }) }),
  };
}

function weightsAction(service: Node, members: Node[], reset: boolean): void {
  const now = members.map((each): [string, number] => [each.key!, liveOf(each.id).override ?? each.weight ?? 1]);
  pending.value = {
    title: reset ? `Reset the weights of ${service.name}` : `Set the weights of ${service.name}`,
    effect: reset ? "The weights of the configuration are in force again." : "They are in force until they are reset, also across reloads of the configuration.",
    confirm: reset ? "Reset weights" : "Set weights",
    ...(!reset && { weights: Object.fromEntries(now) }),
    send: (weights, force) => change(`${pathOf(service)}/weights${force ? "?force=true" : ""}`, reset ? "DELETE" : "PUT", reset ? undefined : weights),
  };
}

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];

/** A button that asks for a change of the instance; nothing where the page is read-only. */
function InstanceButton({ text, action }: { text: string; action: () => Action }): JSX.Element | null {
  if (!hello.value?.writable) return null;
  return (
    <button type="button" disabled={connection.value !== "live"} onClick={() => (pending.value = action())}>
      {text}
    </button>
  );
}

export function LogLevelActions({ of }: { of: LogLevel }): JSX.Element | null {
  const fields: Field[] = [
    { name: "level", label: "Level", value: of.level === "DEBUG" ? "INFO" : "DEBUG", options: LEVELS },
    { name: "for", label: "For", value: "10m", hint: "Like 30s, 10m, 2h; empty: until it is reset." },
  ];
  const set = (): Action => ({
    title: "Change the level of the log",
    effect: `It is ${of.level} now. The change concerns all processes of the instance. Afterwards the configured level, ${of.configured}, holds again.`,
    confirm: "Change level",
    fields,
    send: (_, __, texts) => change("log-level", "PUT", { level: texts["level"], ...(texts["for"]?.trim() && { for: texts["for"].trim() }) }),
  });
  const reset = (): Action => ({
    title: "Reset the level of the log",
    effect: `The configured level, ${of.configured}, holds again.`,
    confirm: "Reset level",
    send: () => change("log-level", "DELETE"),
  });
  return (
    <p class="actions">
      <InstanceButton text="Change level…" action={set} />
      {of.overridden && <InstanceButton text="Reset level…" action={reset} />}
    </p>
  );
}

export function PingActions({ of }: { of: Ping }): JSX.Element | null {
  if (of.stopping) return null;
  const fail = (): Action => ({
    title: "Have /ping fail",
    effect: `It answers ${of.failingStatus} until that is taken back, also across reloads. Load balancers in front send this instance no more requests; those that come are served.`,
    confirm: "Have it fail",
    grave: true,
    send: () => change("ping", "POST", { action: "fail" }),
  });
  const ok = (): Action => ({
    title: "Have /ping answer 200 again",
    effect: "Load balancers in front send this instance requests again.",
    confirm: "Answer 200",
    send: () => change("ping", "POST", { action: "ok" }),
  });
  return <p class="actions">{of.failsSince ? <InstanceButton text="Answer 200 again…" action={ok} /> : <InstanceButton text="Have /ping fail…" action={fail} />}</p>;
}

export function StopActions({ of }: { of: End }): JSX.Element | null {
  if (of.stopping) return null;
  const accepting = of.acceptSeconds ? `It accepts connections for ${of.acceptSeconds} s more, while /ping fails.` : "It accepts no more connections at once.";
  const draining = of.drainSeconds ? `Requests and connections that are under way have ${of.drainSeconds} s at most to end.` : "Requests and connections that are under way are cut.";
  const stop = (): Action => ({
    title: "Stop lbcore",
    effect: `${accepting} ${draining} Then the process ends, and nothing answers here any more, unless a service manager starts it again.`,
    confirm: "Stop lbcore",
    grave: true,
    send: () => change("stop", "POST"),
  });
  return (
    <p class="actions">
      <InstanceButton text="Stop lbcore…" action={stop} />
    </p>
  );
}

/** `body`: which sessions. */
export function closeSessions(title: string, effect: string, body: Record<string, unknown>, done: () => void): void {
  pending.value = {
    title,
    effect,
    confirm: "Close",
    send: async (_, force) => {
      const answer = await change<{ message: string }>("sessions/close", "POST", { ...body, ...(force && { force }) });
      done();
      return answer;
    },
  };
}

/** Whether weights of members can be changed: mirrors and fallbacks have none. */
function hasWeights(service: Node): boolean {
  return service.type !== "mirroring" && service.type !== "failover";
}

export function MemberActions({ member }: { member: Node }): JSX.Element | null {
  const service = serviceOf(member);
  if (!hello.value?.writable || !service || !hasWeights(service)) return null;
  const words = liveOf(member.id).states ?? [];
  const drained = words.includes("drained") || words.includes("draining");
  const out = words.includes("taken-out") || words.includes("ejected");
  const changed = out || words.includes("overridden");
  const button = (verb: keyof typeof VERBS, text: string) => (
    <button type="button" class="small" disabled={connection.value !== "live"} onClick={() => memberAction(member, verb)} aria-label={`${text} ${member.key}`}>
      {text}
    </button>
  );
  return (
    <span class="actions">
      {drained ? button("undrain", "End drain") : button("drain", "Drain")}
      {!out && button("eject", "Eject")}
      {changed && button("reset", "Reset")}
    </span>
  );
}

/** `members`: those that are shown, whose weights can be set. */
export function ServiceActions({ service, members }: { service: Node; members: Node[] }): JSX.Element | null {
  if (!service.members?.length || !hasWeights(service)) return null;
  if (!hello.value?.writable) return <p class="muted">Read-only: set <code>api.token</code> to change weights here.</p>;
  const overridden = service.members.some((id) => liveOf(id).override !== undefined);
  return (
    <p class="actions">
      <button type="button" disabled={connection.value !== "live"} onClick={() => weightsAction(service, members, false)}>
        Set weights…
      </button>
      {overridden && (
        <button type="button" disabled={connection.value !== "live"} onClick={() => weightsAction(service, members, true)}>
          Reset weights…
        </button>
      )}
    </p>
  );
}

/** Counts resets of the maxima: what shows them reads it. */
export const resets = signal(0);

export function MaximaActions(): JSX.Element | null {
  if (!hello.value?.writable) return <span class="muted">Read-only: set <code>api.token</code> to reset them here.</span>;
  const ask = () => {
    pending.value = {
      title: "Reset all maxima",
      effect: "The highest numbers of all objects are forgotten, and counted anew from now on.",
      confirm: "Reset maxima",
      send: async () => {
        const answer = await change<{ message: string }>("maxima", "DELETE");
        resets.value++;
        return answer;
      },
    };
  };
  return (
    <button type="button" disabled={connection.value !== "live"} onClick={ask}>
      Reset maxima…
    </button>
  );
}

/** The question before a change, and what came of it. */
export function Confirmation(): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  const action = pending.value;
  const [problem, setProblem] = useState("");
  const [force, setForce] = useState(false);
  const [sending, setSending] = useState(false);
  const [weights, setWeights] = useState<Record<string, number>>({});
  const [texts, setTexts] = useState<Record<string, string>>({});
  useEffect(() => {
    setProblem("");
    setForce(false);
    setSending(false);
    setWeights(action?.weights ?? {});
    setTexts(Object.fromEntries((action?.fields ?? []).map((each) => [each.name, each.value])));
    if (action && !box.current?.open) box.current?.showModal();
    if (!action) box.current?.close();
  }, [action]);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!action) return;
    setSending(true);
    try {
      const answer = await action.send(weights, force, texts);
      said.value = answer?.message ?? `Done: ${action.title}.`;
      pending.value = null;
    } catch (error) {
      const failure = error as Error & { status?: number; content?: { needsForce?: boolean } };
      if (failure.status === 403) token.value = "";
      setForce(!!failure.content?.needsForce);
      setProblem(failure.message);
    }
    setSending(false);
  };
  return (
    <>
      <dialog ref={box} aria-labelledby="asked" onClose={() => (pending.value = null)}>
        {action && (
          <form onSubmit={submit}>
            <h2 id="asked">{action.title}?</h2>
            <p>{action.effect}</p>
            {Object.entries(weights).map(([key, value]) => (
              <label key={key} class="field across">
                <span class="name">{key}</span>
                <input
                  type="number"
                  min="0"
                  max={1 << 30}
                  required
                  value={value}
                  onInput={(event) => setWeights({ ...weights, [key]: event.currentTarget.valueAsNumber })}
                />
              </label>
            ))}
            {action.fields?.map((each) => (
              <label key={each.name} class="field">
                <span>{each.label}</span>
                {each.options ? (
                  <select value={texts[each.name] ?? each.value} onChange={(event) => setTexts({ ...texts, [each.name]: event.currentTarget.value })}>
                    {each.options.map((option) => (
                      <option key={option} value={option} selected={option === (texts[each.name] ?? each.value)}>
                        {option}
                      </option>
                    ))}
                  </select>
                ) : (
                  <input autocomplete="off" value={texts[each.name] ?? each.value} onInput={(event) => setTexts({ ...texts, [each.name]: event.currentTarget.value })} />
                )}
                {each.hint && <span class="muted">{each.hint}</span>}
              </label>
            ))}
            <label class="field">
              <span>Token</span>
              <input type="password" required autocomplete="off" value={token.value} onInput={(event) => (token.value = event.currentTarget.value)} />
              <span class="muted">The value of <code>api.token</code>. It is kept until this page is closed.</span>
            </label>
            {problem && (
              <p class="problem" role="alert">
                <Sign shape="triangle" /> {problem}
              </p>
            )}
            <p class="actions end">
              <button type="button" onClick={() => (pending.value = null)}>
                Cancel
              </button>
              <button type="submit" class={force || action.grave ? "danger" : "primary"} disabled={sending}>
                {force ? `${action.confirm} all the same` : action.confirm}
              </button>
            </p>
          </form>
        )}
      </dialog>
      <div class="toast" role="status" hidden={!said.value}>
        {said.value && (
          <>
            <span>{said.value}</span>
            <button type="button" class="small" onClick={() => (said.value = "")}>
              Close
            </button>
          </>
        )}
      </div>
    </>
  );
}

export function memberName(member: Node): string {
  return split(member)[0];
}
