// The page: a terminal of the push server in a browser. It shows what the Client of client.js does, and reports what the
// browser knows of its state.
//
// window.keyhole is for tests, and for the curious:
//
//	status     {phase, error, binding, epoch, renewals, wait, token, endpoint, subscription}; phase is "starting",
//	           "elsewhere", "signed-out", "signing-in", "connecting", "verified", "listening", "drained", "waiting"
//	           or "refused"
//	messages   those received, the oldest first: {id, seq, to, time, expires, text, base64, contentType, topic, urgency,
//	           redelivered}; text is null where the payload is not UTF-8
//	state      what is reported: an object of texts
//	setState(set, unset)   sets the keys of an object and removes those of a list

import { random, toBase64, toHex } from "./bytes.js";
import { Client } from "./client.js";
import { Vault, kept } from "./vault.js";
import * as view from "./view.js";
import { newSubscription } from "./webpush.js";

const starting = { phase: "starting", error: "", binding: "", epoch: 0, renewals: 0, wait: 0, subscription: null };
const byID = (id) => document.getElementById(id);

let client = null;
let messages = [];

globalThis.keyhole = {
  get status() {
    const { token = "", endpoint = "" } = client?.who ?? {};
    return { ...(client?.status ?? starting), token, endpoint };
  },
  get messages() {
    return messages.map(({ data, ...rest }) => ({ ...rest, text: view.readable({ data }), base64: toBase64(data) }));
  },
  get state() {
    return { ...client?.state };
  },
  setState: (set, unset) => client.setState(set, unset),
};

// Two tabs would be one terminal with two connections, and the server keeps one: the second tab waits for the first.
async function whileAlone(run) {
  const hold = (options) =>
    navigator.locks.request("keyhole-push", options, async (lock) => {
      if (!lock) return false;
      const left = new Promise((release) => addEventListener("pagehide", release, { once: true }));
      await run();
      return left;
    });
  if ((await hold({ ifAvailable: true })) === false) {
    view.showStatus({ ...starting, phase: "elsewhere" }, null);
    await hold({});
  }
}

async function start() {
  const vault = await Vault.open();
  const who = (await vault.identity()) ?? (await newcomer());
  messages = await vault.messages();
  messages.forEach(view.showMessage);
  view.showCount(messages.length);
  client = new Client({ vault, who, changed, received, forgotten });
  const form = byID("sign-in-form").elements;
  for (const name of ["user", "device", "app", "appVersion"]) form[name].value = who[name];
  listenToPage();
  document.querySelector("main").inert = false; // until here nothing listens
  await reportBattery();
  client.start();
}

const newcomer = async () => ({
  user: "", device: `browser-${toHex(random(4))}`, app: "", appVersion: "1.0", session: "", key: null, pending: null,
  servers: [], token: "", endpoint: "", push: await newSubscription(),
});

function changed() {
  view.showStatus(client.status, client.who);
  view.showState(client.state, removable, (key) => client.setState({}, [key]));
}

function received(message) {
  messages = [...messages, message].slice(-kept);
  view.showMessage(message);
  view.showCount(messages.length);
}

function forgotten() {
  messages = [];
  view.clearMessages();
}

// What the page reports by itself; everything else somebody has typed in.
const removable = (key) => !["network", "foreground", "battery"].includes(key);

function listenToPage() {
  const network = byID("network");
  const known = [...network.options].map((option) => option.value);
  const type = navigator.connection?.type;
  client.setState({ network: known.includes(type) ? type : "unknown" });
  network.onchange = () => client.setState({ network: network.value });

  const look = () => client.setState({ foreground: String(document.visibilityState === "visible") });
  look();
  document.addEventListener("visibilitychange", () => {
    look();
    client.retryNow();
  });
  addEventListener("online", () => client.retryNow());
  // A browser may keep a page that was left, to show it again: frozen, it would still be the one terminal.
  addEventListener("pagehide", () => client.stop());
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  byID("state-form").onsubmit = setKey;
  byID("sign-in-form").onsubmit = signIn;
  byID("sign-out").onclick = () => client.signOut().catch(report);
  byID("connect").onclick = () => client.start();
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.onclick = () => navigator.clipboard.writeText(byID(button.dataset.copy).textContent).catch(report);
  }
}

// reportBattery: only some browsers tell.
async function reportBattery() {
  const battery = await navigator.getBattery?.().catch(() => null);
  if (!battery) return;
  const report = () => client.setState({ battery: String(Math.round(battery.level * 100)) });
  report();
  battery.onlevelchange = report;
}

function setKey(event) {
  event.preventDefault();
  const { key, value } = event.target.elements;
  try {
    client.setState({ [key.value]: value.value });
    event.target.reset();
  } catch (err) {
    report(err);
  }
}

const report = (err) => client.report({ error: err.message || err.name });

async function signIn(event) {
  event.preventDefault();
  const asked = Object.fromEntries(new FormData(event.target));
  event.target.elements.password.value = "";
  await client.signIn(asked).catch(() => {}); // the status says it
}

function failed(err) {
  view.showStatus({ ...starting, error: err.message || err.name }, null);
}

if (!globalThis.isSecureContext) {
  failed(new Error("this page was not loaded over https, and a browser has no keys for it then"));
} else {
  whileAlone(start).catch(failed);
}
