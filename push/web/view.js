// What the page shows. It is drawn from the terminal's status, state and messages, and asks the terminal for nothing.

import { fromUTF8 } from "./bytes.js";

const shown = 100; // messages
const byID = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// write leaves a text that is there already alone: a screen reader would read it out again.
function write(id, text) {
  if (byID(id).textContent !== text) byID(id).textContent = text;
}

const phases = {
  starting: "starting",
  elsewhere: "open in another tab",
  "signed-out": "signed out",
  "signing-in": "signing in",
  connecting: "connecting",
  verified: "verified",
  listening: "listening",
  drained: "moving to another server",
  waiting: "waiting to reconnect",
  refused: "refused",
};

export function showStatus(status, who) {
  write("phase", phases[status.phase]);
  byID("phase").dataset.phase = status.phase;
  write("who", who?.session ? `${who.user} · ${who.app} ${who.appVersion} · ${who.device}` : "");
  write("error", status.error);
  byID("error").hidden = !status.error;
  byID("sign-in").hidden = status.phase !== "signed-out" && status.phase !== "signing-in";
  byID("sign-in-form").elements.submit.disabled = status.phase === "signing-in";
  byID("terminal").hidden = !who?.session;
  byID("connect").hidden = status.phase !== "refused";
  write("binding", status.binding === "waived" ? "waived by the server: a browser cannot prove it" : status.binding);
  write("epoch", `epoch ${status.epoch}, renewed ${status.renewals} times since the page was opened`);
  write("token", who?.token ?? "");
  write("subscription", status.subscription ? JSON.stringify(status.subscription) : "");
}

// showState lists the keys; those of removable have a button that calls remove.
export function showState(state, removable, remove) {
  const rows = Object.entries(state).filter(([key]) => key !== "network").sort();
  byID("state").replaceChildren(...rows.flatMap(([key, value]) => {
    const row = element("dd", "");
    row.append(element("code", value || "\u00a0"));
    if (removable(key)) {
      const button = element("button", "Remove", { type: "button", "aria-label": `Remove ${key}` });
      button.onclick = () => remove(key);
      row.append(button);
    }
    return [element("dt", key), row];
  }));
  byID("network").value = state.network;
}

export const readable = ({ data }) => {
  try {
    return fromUTF8(data);
  } catch {
    return null;
  }
};

const describe = ({ to, urgency, topic, contentType, redelivered }) =>
  [
    to === "app" && "to the whole app",
    topic && `topic ${topic}`,
    urgency && urgency !== "normal" && `${urgency} urgency`,
    contentType,
    redelivered && "sent again",
  ].filter(Boolean);

// showMessage puts a message on top of the log.
export function showMessage(message) {
  const item = element("li", "", { "data-id": message.id });
  const facts = element("p", "");
  const time = new Date(message.time);
  facts.append(element("time", time.toLocaleString(), { datetime: time.toISOString() }));
  facts.append(...describe(message).map((fact) => element("span", fact)));
  item.append(facts, element("pre", readable(message) ?? `${message.data.length} bytes that are not text`));
  const log = byID("log");
  log.prepend(item);
  while (log.children.length > shown) log.lastElementChild.remove();
}

export function showCount(count) {
  byID("count").textContent = count ? `(${count})` : "";
  byID("empty").hidden = count > 0;
}

export function clearMessages() {
  byID("log").replaceChildren();
  showCount(0);
}
