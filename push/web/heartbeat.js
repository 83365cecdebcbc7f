// Heartbeats, and the renewal of keys that they carry.

import { renewed, withServer, withSession } from "./identity.js";
import { generate, publicBytes, signRenewal } from "./keys.js";
import { toBase64URL } from "./bytes.js";

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

const renewalCodes = [
  "renewal_incomplete", "renewal_user_mismatch", "offset_out_of_range", "nonce_invalid", "epoch_invalid",
  "renewal_signature_invalid", "renewal_conflict",
];

// A Heartbeat is where a connection stands with its heartbeats. One is on its way at a time, or a renewal could carry
// the nonce of a reply that another has outdated. Times to wait are of performance.now(), which nobody sets.
export class Heartbeat {
  #terminal;
  #every; // milliseconds
  #renewEvery; // of offset, in milliseconds
  #last; // the last reply, or what was confirmed: s_time, epoch and nonce; nonce is null once it is used
  #sent = 0; // by this device's clock
  #replyBy = 0; // 0: none is on its way
  #renewing = false;

  constructor(terminal, confirmed) {
    this.#terminal = terminal;
    this.#every = clamp(confirmed.heartbeat_ms || 240_000, 10, 3_600_000);
    this.#renewEvery = confirmed.renew_ms > 0 ? confirmed.renew_ms : 6 * 3_600_000;
    this.#last = confirmed;
    this.#schedule();
  }

  // #schedule plans the next, up to a tenth of the interval early: never late, since the server counts, and not at once
  // with all other terminals.
  #schedule() {
    this.#replyBy = 0;
    this.at = performance.now() + this.#every * (1 - Math.random() / 10);
  }

  // next is when send has to be called: for the next heartbeat, or because of the reply that did not come.
  next() {
    return this.#replyBy || this.at;
  }

  // send sends one. Waiting for the reply longer than two intervals, within bounds, means that the connection is gone.
  async send(connection) {
    if (this.#replyBy) throw new Error("the server did not answer a heartbeat");
    const renewal = await this.#renewal();
    this.#sent = Date.now();
    this.#replyBy = performance.now() + clamp(2 * this.#every, 5_000, 30_000);
    connection.send("heartbeat", { sent: this.#sent, ...renewal });
  }

  // #renewal is the reserved fields of a heartbeat, empty until the offset, which is the server's time since the session
  // token was made, has grown enough. The new key is saved before it is sent: with the reply and this page lost, the
  // server would have a key that nobody has.
  async #renewal() {
    const { s_time, epoch, nonce } = this.#last;
    if (nonce === null || this.#terminal.clock.now() - s_time < this.#renewEvery) return {};
    const pending = this.#terminal.who.pending ?? (await generate());
    if (!(await this.#terminal.adopt({ ...this.#terminal.who, pending }))) return {};
    const { key, session } = this.#terminal.who;
    const newKey = toBase64URL(await publicBytes(pending));
    const offset = Math.round(this.#terminal.clock.now() - s_time);
    const [old_signature, new_signature] = await signRenewal(key, pending, session, offset, epoch + 1, nonce);
    this.#last = { ...this.#last, nonce: null }; // it is for one
    this.#renewing = this.#terminal.pendingFirst = true;
    return { new_key: newKey, offset, renewal: { session, epoch: epoch + 1, nonce, old_signature, new_signature } };
  }

  // replied takes the server's time, its keys and the next nonce.
  async replied(reply) {
    if (!this.#replyBy) throw new Error("the server answered a heartbeat that was not sent");
    const now = Date.now();
    this.#terminal.clock.learn(reply.time, (this.#sent + now) / 2); // half of the way there and back
    const asked = this.#renewing && reply.session && reply.epoch === this.#last.epoch + 1;
    this.#renewing = false;
    this.#last = reply;
    this.#schedule();
    await this.#adopt(reply, asked);
  }

  async #adopt(reply, asked) {
    let who = await withServer(this.#terminal.who, reply.server_key);
    if (reply.session) who = withSession(who, reply.session);
    if (asked) {
      this.#terminal.previous = who.key;
      this.#terminal.pendingFirst = false;
      who = renewed(who);
    }
    await this.#terminal.adopt(who);
    if (asked) this.#terminal.keyRenewed(reply.epoch);
  }

  // refused reports whether a refusal is of the renewal on its way. It goes on with the old key: the next heartbeat is a
  // plain one, whose reply brings a nonce and the server's time, and the one after it tries again with the same key.
  // Where the server speaks of another epoch it may have taken an earlier request: a new connection finds that out.
  refused(why) {
    if (!this.#replyBy || !renewalCodes.includes(why.code)) return false;
    if (["epoch_invalid", "renewal_conflict"].includes(why.code)) throw why;
    this.#renewing = false;
    this.#schedule();
    return true;
  }
}
