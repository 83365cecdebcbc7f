// One WebSocket. Everything that happens to a terminal while it is connected is put into one mailbox, which one loop
// empties: no two things happen at once.

import { decode, encode, subprotocol } from "./frames.js";
import { Refusal, isCode } from "./refusal.js";

// mailboxLimit is far above the messages that a server sends ahead of the acknowledgements: past it, one that does not
// count them would fill the memory.
const mailboxLimit = 4096;

// A Mailbox holds events until they are taken: {kind, ...}.
export class Mailbox {
  #events = [];
  #waiting = null;

  put(event) {
    if (this.#events.length >= mailboxLimit) {
      this.#events = [{ kind: "closed", why: new Refusal("out_of_order", "too many frames") }];
    }
    this.#events.push(event);
    this.#waiting?.();
  }

  async take() {
    while (this.#events.length === 0) {
      await new Promise((resolve) => (this.#waiting = resolve));
    }
    return this.#events.shift();
  }
}

export class Connection {
  #socket;

  // Events are {kind: "open"}, {kind: "frame", frame} and, at the end, {kind: "closed", why}.
  constructor(url, mailbox) {
    this.mailbox = mailbox;
    this.#socket = new WebSocket(url, [subprotocol]);
    this.#socket.onopen = () => mailbox.put({ kind: "open" });
    this.#socket.onclose = (event) => mailbox.put({ kind: "closed", why: closed(event) });
    this.#socket.onmessage = (event) => mailbox.put(received(event.data));
  }

  // next returns the next frame, or null for the opening of the connection. It is for the exchange, during which
  // anything but a frame ends the connection.
  async next() {
    for (;;) {
      const event = await this.mailbox.take();
      if (event.kind === "open") return this.#opened();
      if (event.kind === "frame") return refused(event.frame);
      if (event.why) throw event.why;
    }
  }

  #opened() {
    if (this.#socket.protocol !== subprotocol) {
      throw new Refusal("subprotocol_required", `the server does not speak ${subprotocol}`);
    }
    return null;
  }

  // send leaves a socket alone that has closed, since the browser would log an error: its end is in the mailbox already.
  send(type, fields) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(encode({ type, ...fields }));
  }

  // close tells the server why: with the status 4000, as a page may not send 1008.
  close(why) {
    this.#socket.onmessage = null;
    if (why instanceof Refusal && why.code && why.code !== "draining") this.#socket.close(4000, why.code);
    else this.#socket.close(1000);
  }
}

function received(data) {
  try {
    return { kind: "frame", frame: decode(data) };
  } catch (why) {
    return { kind: "closed", why };
  }
}

function refused(frame) {
  if (frame.type === "error") throw asRefusal(frame);
  return frame;
}

export const asRefusal = (frame) => new Refusal(frame.code, frame.message, frame.retry_after_ms ?? 0);

// closed is why a socket ended; a server that has no time for a frame puts the code into the reason.
function closed({ code, reason }) {
  if (isCode(reason)) return new Refusal(reason);
  return new Error(code === 1006 ? "the connection failed" : `the connection ended (${code}${reason && ": "}${reason})`);
}
