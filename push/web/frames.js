// The frames of the protocol (docs/push-protocol.md): one JSON object in one text message. Byte fields are Uint8Arrays
// here. Fields that are not known are passed over, so that a server may say more within one version.

import { fromBase64, fromBase64URL, toBase64URL } from "./bytes.js";
import { Refusal } from "./refusal.js";

export const subprotocol = "keyhole-push.v1";

const is = (type) => (value) => {
  if (typeof value !== type) throw new TypeError(`want a ${type}`);
  return value;
};
const text = is("string");
const truth = is("boolean");

const integer = (value) => {
  if (!Number.isSafeInteger(value)) throw new TypeError("want a whole number");
  return value;
};

const texts = (value) => {
  if (!Array.isArray(value)) throw new TypeError("want a list");
  return value.map(text);
};

// A Go server writes an empty []byte as null.
const payload = (value) => fromBase64(value ?? "");

const optional = (read) => (value) => (value === undefined || value === null ? null : read(value));

const object = (shape) => (value) => {
  if (typeof value !== "object" || value === null) throw new TypeError("want an object");
  const read = {};
  for (const [name, field] of Object.entries(shape)) {
    try {
      read[name] = field(value[name]);
    } catch (err) {
      throw new TypeError(`field "${name}": ${err.message}`);
    }
  }
  return read;
};

const serverKey = object({ public: text, previous: text, signature: fromBase64URL });

const shapes = {
  challenge: object({ version: text, versions: texts, client_token: fromBase64URL, server_token: fromBase64URL }),
  confirmed: object({
    proof: fromBase64URL, binding: text, session: optional(text), epoch: integer, s_time: integer, time: integer,
    nonce: fromBase64URL, heartbeat_ms: integer, renew_ms: integer, server_key: optional(serverKey),
    encryption: optional(truth), limits: object({ window: integer }),
  }),
  listening: object({}),
  message: object({
    id: text, seq: integer, to: text, time: integer, expires: integer, data: payload, content_type: optional(text),
    content_encoding: optional(text), encryption: optional(text), topic: optional(text), urgency: optional(text),
    redelivered: optional(truth),
  }),
  heartbeat_reply: object({
    time: integer, s_time: integer, nonce: fromBase64URL, epoch: integer, session: optional(text),
    server_key: optional(serverKey),
  }),
  ok: object({ ref: optional(text) }),
  drain: object({ delay_ms: integer }),
  error: object({
    code: text, message: text, ref: optional(text), fatal: optional(truth), retry_after_ms: optional(integer),
  }),
};

// decode reads a frame of the server, with its "type" added. What cannot be is a Refusal, bad_frame or unknown_frame.
export function decode(data) {
  let type = "";
  try {
    const value = JSON.parse(text(data));
    type = text(value?.type);
    if (Object.hasOwn(shapes, type)) return { ...shapes[type](value), type };
  } catch (err) {
    throw new Refusal("bad_frame", `${type || "frame"}: ${err.message}`);
  }
  throw new Refusal("unknown_frame", `type "${type.slice(0, 40)}"`);
}

export const encode = (frame) =>
  JSON.stringify(frame, (_, value) => (value instanceof Uint8Array ? toBase64URL(value) : value));
