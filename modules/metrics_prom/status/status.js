// status.js: fetches status.json every few seconds and shows it. All text goes in as text, never as HTML.
"use strict";

const PERIOD_MS = 3000;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function fill(parent, children, empty) {
  parent.replaceChildren(...children);
  if (children.length === 0) parent.append(element("p", { class: "empty" }, empty));
}

// ---- figures ---------------------------------------------------------------------------------

function duration(s) {
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

function milliseconds(ms) {
  if (ms === null) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

function rate(perSecond) {
  if (perSecond === 0) return "0";
  return perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(perSecond >= 1 ? 1 : 2);
}

function count(n) {
  return n.toLocaleString("en");
}

// ---- parts -----------------------------------------------------------------------------------

function sparkline(values, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const most = Math.max(...values.filter((v) => v !== null), 0);
  const path = (className, d) => {
    const p = document.createElementNS(SVG, "path");
    p.setAttribute("class", className);
    p.setAttribute("d", d);
    svg.append(p);
  };
  path("ground", "M0 19.5H100");
  let d = "", down = false;
  values.forEach((v, i) => {
    if (v === null) {
      down = false;
      return;
    }
    const x = (100 * i) / Math.max(values.length - 1, 1), y = 19 - (17 * v) / (most || 1);
    d += `${down ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!down) d += "h.01";
    down = true;
  });
  path("line", d);
  return svg;
}

function tile(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

function connection(c) {
  const state = { registered: "good", connecting: "warn", leaving: "warn" }[c.state];
  const figures = [c.ip];
  if (c.rtt_ms !== null) figures.push(`RTT ${milliseconds(c.rtt_ms)}`);
  if (c.state === "registered") figures.push(`for ${duration(c.registered_s)}`);
  figures.push(`${count(c.open)} open`);
  return element("div", { class: state },
    element("b", {}, element("span", { class: "dot" }, "● "),
      `${c.tunnel === "second" ? "second tunnel · " : ""}${c.index} · ${c.location || c.state} · ${c.protocol}${c.state === "leaving" ? " · leaving" : ""}`),
    element("span", {}, figures.join(" · ")));
}

function figure(name, value, failing) {
  return element("div", { class: failing ? "figure failing" : "figure" }, element("span", {}, name), value);
}

function rule(r) {
  const name = (r.hostname || "any host") + (r.path ? ` ${r.path}` : "");
  return element("div", { class: "rule" },
    element("div", { class: "name" }, name, element("span", {}, `→ ${r.service}`)),
    element("div", { class: "chart" }, sparkline(r.latency_ms, `time to first byte of ${name}, last 5 minutes`)),
    figure("requests/s", rate(r.rate)),
    figure("first byte", milliseconds(r.latency_now_ms)),
    figure("errors", count(r.errors), r.errors_lately > 0));
}

function event(e) {
  const levels = { error: "bad", fatal: "bad", warn: "warn" };
  const at = new Date(e.time * 1000);
  return element("li", { class: levels[e.level] || "" },
    element("time", { datetime: at.toISOString() }, at.toLocaleTimeString([], { hour12: false })),
    element("b", { class: "dot" }, e.level), element("span", { class: "text" }, e.text));
}

function module(m) {
  return element("li", { title: m.summary }, m.name, " ", element("span", {}, m.kind));
}

// ---- the page --------------------------------------------------------------------------------

function show(s) {
  const state = s.draining ? ["Draining", "warn"] : s.ready ? ["Serving", "good"] : ["Not ready", "bad"];
  $("state").textContent = state[0];
  $("state").className = `pill ${state[1]}`;
  $("reason").textContent = s.reason || "";
  document.title = `culvert · ${state[0]}`;
  $("tiles").replaceChildren(
    tile("edge connections", count(s.registered)),
    tile("requests/s", rate(s.rate)),
    tile("open requests", count(s.open)),
    tile("first byte", milliseconds(s.latency_now_ms)),
    tile("errors, last minute", count(s.errors_lately)),
    tile("up for", duration(s.uptime_s)));
  fill($("connections"), s.connections.sort((a, b) => a.index - b.index).map(connection), "No connection yet.");
  $("config").textContent = s.config_version < 0 ? "none from the edge yet" : `version ${s.config_version}`;
  fill($("rules"), s.rules.map(rule), "No rules yet.");
  fill($("events"), s.events.slice().reverse().map(event), "Nothing has happened yet.");
  fill($("modules"), s.modules.map(module), "None.");
  $("identity").textContent = `tunnel ${s.tunnel || "none"} · connector ${s.connector} · culvert ${s.version}`;
}

function lost(why) {
  $("state").textContent = "No answer";
  $("state").className = "pill bad";
  $("reason").textContent = why;
}

async function refresh() {
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch (e) {
    lost(`culvert does not answer (${e.message}); what is shown may be old`);
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
