const text = (tag, value, name) => { const e = document.createElement(tag); e.textContent = value;
  if (name) e.className = name; return e; };
function node(part) {
  const item = document.createElement("li"), down = part.status === "DOWN";
  item.append(text("span", down ? "\u25cf " : "\u25cb ", down ? "down" : "up"), text("b", part.url || part.name));
  const facts = [part.role, part.percent !== undefined ? part.percent + " %" : undefined,
    part.weight !== undefined ? "weight " + part.effectiveWeight + " of " + part.weight : undefined,
    part.overriddenWeight !== undefined ? "overridden" : undefined,
    part.requests !== undefined ? part.requests + " requests" : undefined].filter(Boolean).join(", ");
  item.append(text("span", " " + facts, "small"));
  if (part.cause) item.append(text("div", part.cause, "cause"));
  const below = [...(part.children || []), ...(part.servers || [])];
  if (below.length) { const list = document.createElement("ul"); list.append(...below.map(node)); item.append(list); }
  return item;
}
async function show() {
  const get = async (path) => (await fetch("../api/" + path)).json();
  const [version, tree, routers] = [await get("version"), await get("tree"), await get("http/routers")];
  const state = await get("state");
  document.getElementById("problems").replaceChildren(...state.problems.map((problem) => {
    const item = text("li", problem.severity + ": " + problem.text, problem.severity === "lost" ? "down" : "warning");
    item.append(...problem.traffic.map((part) => text("div", part, "small"))); return item; }));
  document.getElementById("version").textContent = version.Version + ", since " + version.startDate;
  const list = document.createElement("ul"); list.append(...tree.map(node));
  document.getElementById("tree").replaceChildren(list);
  document.getElementById("routers").replaceChildren(...routers.map((router) => {
    const row = document.createElement("tr");
    row.append(text("td", router.name), text("td", router.rule), text("td", router.service),
      text("td", (router.error || [router.status]).join("; "), router.error ? "down" : "up")); return row; }));
}
show(); setInterval(show, 2000);
