// A terminal: it signs in, keeps one connection to the server of the page's origin, and connects again whenever that is
// lost.

import { Clock, call } from "./api.js";
import { toBase64URL, toUTF8 } from "./bytes.js";
import { Channel } from "./channel.js";
import { Connection, Mailbox } from "./connection.js";
import { exchange } from "./exchange.js";
import { renewed, signedOut, withServer, withSession } from "./identity.js";
import { generate, parsePublic, publicBytes } from "./keys.js";
import { Backoff, judge, retryAfter } from "./refusal.js";
import { describe, newSubscription } from "./webpush.js";

const setupTimeout = 30_000; // milliseconds, from the start of a connection until it listens
const livedAfter = 10_000; // how long a verified connection has to last for what was before it to be forgiven

// checkState has the limits of a state (docs/push-protocol.md): one bad key would keep all beside it from arriving.
function checkState(state) {
  for (const [key, value] of Object.entries(state)) {
    if (!/^[a-z][a-z0-9_.-]{0,63}$/.test(key)) {
      throw new Error(`key "${key}": want a letter a-z and up to 63 more of a-z, 0-9, _ . -`);
    }
    if (typeof value !== "string" || toUTF8(value).length > 256) {
      throw new Error(`value of "${key}": want a text of 256 bytes at most`);
    }
  }
  if (Object.keys(state).length > 64) throw new Error("more than 64 keys; remove some");
  if (toUTF8(Object.entries(state).flat().join("")).length > 8192) throw new Error("more than 8 KiB; remove some keys");
}

export class Client {
  clock = new Clock();
  who; // see identity.js
  state = {}; // never changed, only replaced
  previous = null; // the client key before the last renewal: messages sealed to it may still arrive
  pendingFirst = true; // the server may have the pending key
  status = { phase: "signed-out", error: "", binding: "", epoch: 0, renewals: 0, wait: 0, subscription: null };

  #vault;
  #changed; // called when the status has changed
  #received; // called with each new message
  #forgotten; // called when all messages are removed
  #backoff = new Backoff();
  #tried = new Set(); // verdicts acted on at once since a connection lived
  #mailbox = null; // of the connection there is
  #wake = () => {}; // ends a wait
  #slow = false; // the wait is for what would only happen again at once
  #running = Promise.resolve();
  #stopped = false;

  constructor({ vault, who, changed, received, forgotten }) {
    this.#vault = vault;
    this.who = who;
    this.#changed = changed;
    this.#received = received;
    this.#forgotten = forgotten;
  }

  report(changes) {
    this.status = { ...this.status, ...changes };
    this.#changed();
  }

  keyRenewed(epoch) {
    this.report({ epoch, renewals: this.status.renewals + 1 });
  }

  // adopt replaces the identity, and returns whether it is kept. One that is not holds until the page is closed.
  async adopt(next) {
    if (next === this.who) return true;
    this.who = next;
    await this.#showSubscription();
    try {
      await this.#vault.saveIdentity(next);
      return true;
    } catch (err) {
      this.report({ error: `the keys are not kept, so the next visit has to sign in: ${err.message || err.name}` });
      return false;
    }
  }

  async #showSubscription() {
    const { endpoint, push } = this.who;
    this.report({ subscription: endpoint ? await describe(push, endpoint) : null });
  }

  // take keeps a message and returns whether it may be acknowledged: also when it was kept before.
  async take({ id, seq, to, time, expires, data, content_type: contentType, topic, urgency, redelivered }) {
    const message = { id, seq, to, time, expires, data, contentType, topic, urgency, redelivered: !!redelivered };
    try {
      if (await this.#vault.add(message)) this.#received(message);
      return true;
    } catch (err) {
      this.report({ error: `message ${id} cannot be kept, and will come again: ${err.message || err.name}` });
      return false;
    }
  }

  // setState sets the keys of set and removes those of unset. It throws for what the server would refuse, and changes
  // nothing then.
  setState(set, unset = []) {
    const next = { ...this.state, ...set };
    for (const key of unset) delete next[key];
    checkState(next);
    this.state = next;
    this.#mailbox?.put({ kind: "state" });
    this.#changed();
  }

  // signIn gives the password for a session that stands for it from then on, and connects. Another account, device or
  // app on this page starts with nothing of the last one.
  async signIn({ user, password, device, app, appVersion }) {
    await this.stop();
    this.report({ phase: "signing-in", error: "" });
    try {
      const same = this.who?.user === user && this.who.device === device && this.who.app === app;
      if (!same) await this.#forget();
      const before = same ? this.who : { user, device, app, token: "", endpoint: "", push: await newSubscription() };
      await this.adopt(await this.#login({ ...before, appVersion }, password));
    } catch (err) {
      this.report({ phase: "signed-out", error: err.message });
      throw err;
    }
    this.start();
  }

  async #login(who, password) {
    const key = await generate();
    const client_key = toBase64URL(await publicBytes(key));
    const { user, device, app } = who;
    const reply = await call(this.clock, null, "POST", "/v1/login", { user, password, device, app, client_key });
    this.clock.learn(reply.s_time);
    const servers = [await parsePublic(reply.server_key)];
    return withSession({ ...who, key, pending: null, servers }, reply.session);
  }

  // signOut ends the session, also at the server, and forgets the account and its messages.
  async signOut() {
    await this.stop();
    if (this.who?.session) {
      const request = call(this.clock, this.who, "DELETE", "/v1/session");
      await request.catch((err) => console.warn("sign out at the server:", err.message));
    }
    await this.#forget();
    await this.adopt({ ...signedOut(this.who), user: "", token: "", endpoint: "", push: await newSubscription() });
    this.report({ phase: "signed-out", error: "", binding: "", epoch: 0 });
  }

  async #forget() {
    await this.#vault.forget();
    this.#forgotten();
  }

  // start connects, if there is a session to do it with.
  start() {
    if (!this.who?.session) return this.report({ phase: "signed-out" });
    this.#stopped = false;
    this.#tried.clear();
    this.#backoff.reset();
    this.#running = this.#connections();
  }

  // stop returns once the connection is closed, and the message in hand is kept.
  async stop() {
    this.#stopped = true;
    this.#mailbox?.put({ kind: "stop", why: new Error("stopped") });
    this.#wake();
    await this.#running;
  }

  // retryNow cuts a wait short: the network is back, or somebody looks at the page again.
  retryNow() {
    if (!this.#slow) this.#wake();
  }

  async #connections() {
    await this.#showSubscription();
    while (!this.#stopped) {
      let verified = Infinity;
      let cause = null;
      try {
        await this.#connection(() => (verified = performance.now()));
      } catch (err) {
        cause = err;
      }
      if (this.#stopped) return;
      const wait = await this.#after(performance.now() - verified >= livedAfter, cause);
      if (wait === null) return;
      if (wait > 0) await this.#rest(wait, cause);
    }
  }

  // #connection is one from its start to its end, which it throws.
  async #connection(verified) {
    this.report({ phase: "connecting" });
    if (!this.who.token) await this.#askToken();
    const mailbox = (this.#mailbox = new Mailbox());
    const why = new Error("the server took too long");
    const late = setTimeout(() => mailbox.put({ kind: "late", why }), setupTimeout);
    if (this.#stopped) mailbox.put({ kind: "stop", why: new Error("stopped") });
    const connection = new Connection(new URL("/v1/terminal", location.origin.replace(/^http/, "ws")).href, mailbox);
    try {
      await connection.next();
      await this.#serve(connection, verified);
    } catch (err) {
      connection.close(err);
      throw err;
    } finally {
      clearTimeout(late);
      this.#mailbox = null;
    }
  }

  // #serve proves the session's key or, after a renewal whose reply was lost, the one that the server may have by now.
  async #serve(connection, verified) {
    const key = (this.pendingFirst && this.who.pending) || this.who.key;
    const confirmed = await exchange(connection, this.who, key);
    verified();
    this.clock.learn(confirmed.time);
    await this.#adoptConfirmed(key, confirmed);
    this.report({ phase: "verified", binding: confirmed.binding, epoch: confirmed.epoch });
    await new Channel(this, connection, confirmed).serve();
  }

  // #adoptConfirmed takes a new server key and session. A session that replaces this one after the pending key was
  // proved says that the server has that key.
  async #adoptConfirmed(key, confirmed) {
    let who = await withServer(this.who, confirmed.server_key);
    this.pendingFirst = key === who.pending;
    if (confirmed.session) {
      try {
        who = withSession(who, confirmed.session);
        if (this.pendingFirst) {
          this.previous = who.key;
          who = renewed(who);
        }
      } catch (err) {
        console.warn("a new session is not used:", err.message);
      }
    }
    await this.adopt(who);
  }

  async #askToken() {
    const { user, device, app } = this.who;
    const { token, endpoint } = await call(this.clock, this.who, "POST", "/v1/tokens", { device, app, account: user });
    await this.adopt({ ...this.who, token, endpoint });
  }

  // #after returns the wait before the next connection in milliseconds, or null where there is to be none.
  async #after(lived, cause) {
    if (lived) {
      this.#backoff.reset();
      this.#tried.clear();
    }
    const verdict = judge(cause);
    this.#slow = verdict === "retrySlowly";
    switch (verdict) {
      case "giveUp":
        if (cause.code === "token_revoked") await this.adopt({ ...this.who, token: "", endpoint: "" });
        this.report({ phase: "refused", error: cause.message });
        return null;
      case "otherKey":
        if (!this.who.pending || this.#tried.has(verdict)) return this.#lost(cause);
        this.pendingFirst = !this.pendingFirst;
        return this.#atOnce(verdict);
      case "signIn":
        return this.#lost(cause);
      case "tokenAgain":
        await this.adopt({ ...this.who, token: "", endpoint: "" });
        return this.#atOnce(verdict);
      case "retrySlowly":
        return Math.max(this.#backoff.slow(), retryAfter(cause));
      case "endOfService":
        if (lived) return 0;
    }
    const asked = retryAfter(cause);
    return Math.max(asked && asked + Math.random() * this.#backoff.min, this.#backoff.next());
  }

  // #lost: the session is gone, and the password was not kept.
  async #lost(cause) {
    await this.adopt(signedOut(this.who));
    this.report({ phase: "signed-out", error: `${cause.message}; sign in again` });
    return null;
  }

  #atOnce(verdict) {
    if (this.#tried.has(verdict)) return this.#backoff.next();
    this.#tried.add(verdict);
    return 0;
  }

  async #rest(wait, cause) {
    this.report({ phase: "waiting", wait, error: cause?.message ?? "" });
    let timer;
    await new Promise((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, wait);
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }
}
