// A connection after the mutual verification: the state, messages, heartbeats, and its end.

import { toUTF8 } from "./bytes.js";
import { asRefusal } from "./connection.js";
import { serverOf } from "./exchange.js";
import { Heartbeat } from "./heartbeat.js";
import { openMessage, sealState } from "./keys.js";
import { Refusal } from "./refusal.js";
import { decrypt } from "./webpush.js";

const longestDrain = 600_000; // milliseconds

export class Channel {
  #terminal;
  #connection;
  #beat;
  #sealed; // states are sealed to the server's key
  #sent = {}; // the state as the server has it
  #refs = 0;
  #listening = false;
  #drainAt = Infinity;
  #timer;

  constructor(terminal, connection, confirmed) {
    this.#terminal = terminal;
    this.#connection = connection;
    this.#sealed = confirmed.encryption;
    this.#beat = new Heartbeat(terminal, confirmed);
  }

  // serve goes on until the connection ends, and throws why it did.
  async serve() {
    try {
      await this.#listen();
      for (;;) {
        this.#setTimer();
        await this.#handle(await this.#connection.mailbox.take());
      }
    } finally {
      clearTimeout(this.#timer);
    }
  }

  #setTimer() {
    const next = Math.min(this.#beat.next(), this.#drainAt);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connection.mailbox.put({ kind: "tick" }), next - performance.now());
  }

  async #handle(event) {
    switch (event.kind) {
      case "frame":
        return this.#frame(event.frame);
      case "state":
        return this.#reportState();
      case "tick":
        return this.#tick();
      case "late":
        if (this.#listening) return;
    }
    throw event.why;
  }

  // #tick may come a little early: a browser's clocks are coarse.
  async #tick() {
    const now = performance.now() + 1;
    if (now >= this.#drainAt) throw new Refusal("draining");
    if (now >= this.#beat.next()) await this.#beat.send(this.#connection);
  }

  async #frame(frame) {
    switch (frame.type) {
      case "message":
        return this.#message(frame);
      case "heartbeat_reply":
        return this.#beat.replied(frame);
      case "listening":
        this.#listening = true;
        return this.#terminal.report({ phase: "listening", error: "" });
      case "ok":
        return; // a state is taken to hold once it is sent
      case "drain":
        this.#drainAt = performance.now() + Math.min(Math.max(frame.delay_ms, 0), longestDrain);
        return this.#terminal.report({ phase: "drained" });
      case "error":
        return this.#refused(frame);
    }
    throw new Refusal("out_of_order", `a ${frame.type} frame after the exchange`);
  }

  #refused(frame) {
    const why = asRefusal(frame);
    if (frame.fatal || !this.#listening) throw why;
    if (this.#beat.refused(why)) return;
    console.warn(`the server refused a frame: ${why.message}`);
    this.#terminal.report({ error: why.message });
  }

  // #listen asks for messages, with the whole state.
  async #listen() {
    const state = this.#terminal.state;
    this.#sent = state;
    const fields = this.#sealed ? { sealed: await this.#seal(state) } : { state };
    this.#connection.send("listen", { ref: this.#ref(), token: this.#terminal.who.token, ...fields });
  }

  // #reportState sends what changed since the server was last told.
  async #reportState() {
    const state = this.#terminal.state;
    const set = Object.fromEntries(Object.entries(state).filter(([key, value]) => this.#sent[key] !== value));
    const unset = Object.keys(this.#sent).filter((key) => !Object.hasOwn(state, key));
    this.#sent = state;
    if (Object.keys(set).length + unset.length === 0) return;
    const fields = this.#sealed ? { sealed: await this.#seal({ set, unset }) } : { set, unset };
    this.#connection.send("state", { ref: this.#ref(), ...fields });
  }

  #seal(value) {
    return sealState(serverOf(this.#terminal.who), toUTF8(JSON.stringify(value)));
  }

  #ref() {
    return String(++this.#refs);
  }

  // #message acknowledges a message once the terminal has kept it. One that it cannot keep comes again with the next
  // connection. What the publisher encrypted for somebody else will never be read: it is done with (RFC 8291 section 4).
  async #message(frame) {
    let data;
    try {
      data = await this.#open(frame);
    } catch (err) {
      this.#terminal.report({ error: `message ${frame.id} cannot be read: ${err.message || err.name}` });
      return;
    }
    if (data !== null && !(await this.#terminal.take({ ...frame, data }))) return;
    this.#connection.send("ack", { seq: [frame.seq] });
  }

  // #open takes off the server's encryption for this terminal, and inside it the publisher's, for its subscription. Null
  // is what the publisher has to encrypt anew.
  async #open(frame) {
    const data = frame.encryption ? await this.#unseal(frame) : frame.data;
    if (frame.content_encoding !== "aes128gcm") return data;
    try {
      return await decrypt(this.#terminal.who.push, data);
    } catch (err) {
      const why = err.message || err.name;
      this.#terminal.report({ error: `message ${frame.id} is not encrypted for this subscription: ${why}` });
      return null;
    }
  }

  // #unseal: around a renewal a payload can be sealed to the key before it, or to the one that is still pending.
  async #unseal(frame) {
    if (frame.encryption !== "hpke") throw new Error(`encryption "${frame.encryption}" is not known`);
    const { key, pending } = this.#terminal.who;
    let why;
    for (const candidate of [key, pending, this.#terminal.previous].filter(Boolean)) {
      try {
        return await openMessage(candidate, frame.data);
      } catch (err) {
        why = err;
      }
    }
    throw why;
  }
}
