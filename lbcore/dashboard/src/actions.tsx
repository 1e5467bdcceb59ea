// Changes of weights and of what takes requests: each with the token and a confirmation.

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Sign } from "./icons";
import { split } from "./parts";
import { ask, byId, connection, hello, liveOf } from "./store";
import type { Node } from "./types";

interface Action {
  title: string;
  effect: string;
  confirm: string;
  /** Weights to set by key of the member; undefined: nothing to fill in. */
  weights?: Record<string, number>;
  send: (weights: Record<string, number>, force: boolean) => Promise<{ message?: string } | null>;
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

/** The question before a change, and what came of it. */
export function Confirmation(): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  const action = pending.value;
  const [problem, setProblem] = useState("");
  const [force, setForce] = useState(false);
  const [sending, setSending] = useState(false);
  const [weights, setWeights] = useState<Record<string, number>>({});
  useEffect(() => {
    setProblem("");
    setForce(false);
    setSending(false);
    setWeights(action?.weights ?? {});
    if (action && !box.current?.open) box.current?.showModal();
    if (!action) box.current?.close();
  }, [action]);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!action) return;
    setSending(true);
    try {
      const answer = await action.send(weights, force);
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
              <button type="submit" class={force ? "danger" : "primary"} disabled={sending}>
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
