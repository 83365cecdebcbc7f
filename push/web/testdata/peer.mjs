// The modules of the page, called from a test over JSON lines: {"call": name, "args": [...]} in, {"value"} or {"error"}
// out. Bytes are base64url both ways.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

globalThis.crypto ??= webcrypto; // Node 18

const { fromBase64URL, toBase64URL } = await import("./bytes.js");
const { clientProof, verifyServer } = await import("./exchange.js");
const { decode, encode } = await import("./frames.js");
const identity = await import("./identity.js");
const keys = await import("./keys.js");
const hpke = await import("./hpke.js");
const { Backoff, Refusal, judge } = await import("./refusal.js");
const webpush = await import("./webpush.js");

const held = new Map(); // what cannot leave a process, by name
const bytes = (list) => list.map(fromBase64URL);

const exchangeOf = async ({ server, key, clientToken, serverToken, ...rest }) => ({
  ...rest, key: held.get(key), server: await keys.parsePublic(server),
  clientToken: fromBase64URL(clientToken), serverToken: fromBase64URL(serverToken),
});

const calls = {
  async generate(name) {
    const key = await keys.generate();
    held.set(name, key);
    const extractable = key.sign.privateKey.extractable || key.seal.privateKey.extractable;
    return { public: await keys.publicBytes(key), extractable };
  },
  message: (context, parts) => keys.message(context, bytes(parts)),
  sign: (name, context, parts) => keys.sign(held.get(name), context, ...bytes(parts)),
  verify: async (text, signature, context, parts) =>
    keys.verify(await keys.parsePublic(text), fromBase64URL(signature), context, ...bytes(parts)),
  parsePublic: async (text) => (await keys.parsePublic(text)).kid,
  sessionKID: (session) => keys.sessionKID(session),
  openMessage: (name, sealed) => keys.openMessage(held.get(name), fromBase64URL(sealed)),
  open: (name, info, sealed) => hpke.open(held.get(name).seal, info, fromBase64URL(sealed)),
  sealState: async (text, plaintext) => keys.sealState(await keys.parsePublic(text), fromBase64URL(plaintext)),
  signRenewal: (old, next, session, offset, epoch, nonce) =>
    keys.signRenewal(held.get(old), held.get(next), session, offset, epoch, fromBase64URL(nonce)),
  dpop: (name, method, url, now, session) => keys.dpop(held.get(name), method, url, now, session),
  clientProof: async (x) => clientProof(await exchangeOf(x)),
  verifyServer: async (x, proof, ours) => verifyServer(await exchangeOf(x), fromBase64URL(proof), fromBase64URL(ours)),
  async withServer(session, known, frame) {
    const servers = await Promise.all(known.map(keys.parsePublic));
    const who = await identity.withServer({ session, servers }, { ...frame, signature: fromBase64URL(frame.signature) });
    return who.servers.map((server) => server.text);
  },
  async subscribe(name) {
    held.set(name, await webpush.newSubscription());
    return webpush.describe(held.get(name), "https://push.example/push/token");
  },
  decrypt: (name, body) => webpush.decrypt(held.get(name), fromBase64URL(body)),
  decode: (text) => decode(text),
  encode: (frame) => encode({ ...frame, client_token: frame.client_token && fromBase64URL(frame.client_token) }),
  judge: (code) => judge({ code }),
  backoff(attempts) {
    const backoff = new Backoff(500, 60_000);
    return Array.from({ length: attempts }, () => backoff.next());
  },
};

const plain = (_, value) => (value instanceof Uint8Array ? toBase64URL(value) : value);

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  let reply;
  try {
    reply = { value: (await calls[call](...args)) ?? null };
  } catch (err) {
    // A DOMException has a code too, a number.
    reply = { error: err.message || err.name, code: err instanceof Refusal ? err.code : "" };
  }
  console.log(JSON.stringify(reply, plain));
}
