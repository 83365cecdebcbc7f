// The keys of a terminal and of the server, and what is signed with them. The texts and bytes are those of the
// protocol, docs/push-protocol.md: P-256 everywhere, and one key pair to sign, another to be sealed to.

import { concat, equal, fromBase64URL, int64, random, toBase64URL, toHex, toUTF8, uint32 } from "./bytes.js";
import * as hpke from "./hpke.js";

const ecdsa = { name: "ECDSA", namedCurve: "P-256" };
const ecdh = { name: "ECDH", namedCurve: "P-256" };
const es256 = { name: "ECDSA", hash: "SHA-256" };
const pointSize = 65;
const kidSize = 8;

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

// message is what a signature is over, before ECDSA hashes it: context, a zero byte, and each part after its length.
export function message(context, parts) {
  return concat(toUTF8(context), Uint8Array.of(0), ...parts.flatMap((part) => [uint32(part.length), part]));
}

// generate makes {sign, seal}, two CryptoKeyPairs whose private halves cannot leave the browser: IndexedDB keeps them
// as they are, and no script can read them.
export async function generate() {
  const [sign, seal] = await Promise.all([
    crypto.subtle.generateKey(ecdsa, false, ["sign", "verify"]),
    crypto.subtle.generateKey(ecdh, false, ["deriveBits"]),
  ]);
  return { sign, seal };
}

// publicBytes is the public half of what generate made: the signing point, then the sealing point.
export async function publicBytes(key) {
  const points = [key.sign.publicKey, key.seal.publicKey].map((point) => crypto.subtle.exportKey("raw", point));
  return concat(...(await Promise.all(points)).map((point) => new Uint8Array(point)));
}

// parsePublic reads a public key of 130 bytes in base64url. WebCrypto refuses a point that is not on the curve.
export async function parsePublic(text) {
  const bytes = fromBase64URL(text);
  if (bytes.length !== 2 * pointSize || bytes[0] !== 4 || bytes[pointSize] !== 4) {
    throw new Error(`public key of ${bytes.length} bytes, want two uncompressed points`);
  }
  const seal = bytes.slice(pointSize);
  if (equal(bytes.slice(0, pointSize), seal)) throw new Error("public key: the same point signs and seals, want two");
  const [sign] = await Promise.all([
    crypto.subtle.importKey("raw", bytes.slice(0, pointSize), ecdsa, false, ["verify"]),
    crypto.subtle.importKey("raw", seal, ecdh, false, []),
  ]);
  return { text, bytes, sign, seal, kid: toHex((await sha256(bytes)).slice(0, kidSize)) };
}

// sessionKID is the id of the server key that a session token is sealed to.
export function sessionKID(session) {
  const bytes = fromBase64URL(session);
  if (bytes.length <= kidSize) throw new Error(`session token of ${bytes.length} bytes is too short`);
  return toHex(bytes.slice(0, kidSize));
}

export async function sign(key, context, ...parts) {
  return new Uint8Array(await crypto.subtle.sign(es256, key.sign.privateKey, message(context, parts)));
}

export const verify = (publicKey, signature, context, ...parts) =>
  crypto.subtle.verify(es256, publicKey.sign, signature, message(context, parts));

export const openMessage = (key, sealed) => hpke.open(key.seal, "keyhole-push.v1 message", sealed);
export const sealState = (publicKey, plaintext) => hpke.seal(publicKey.seal, "keyhole-push.v1 state", plaintext);

// verifyServerKey: the server signs each of its keys with the one before it.
export const verifyServerKey = (before, next, signature) =>
  verify(before, signature, "keyhole-push.v1 server key", next.bytes);

// signRenewal signs the replacement of the old key by the new one, with both.
export async function signRenewal(old, next, session, offset, epoch, nonce) {
  const parts = [toUTF8(session), await publicBytes(next), int64(offset), int64(epoch), nonce];
  return Promise.all([
    sign(old, "keyhole-push.v1 renewal old", ...parts),
    sign(next, "keyhole-push.v1 renewal new", ...parts),
  ]);
}

// dpop makes the proof that goes with one HTTP request (RFC 9449). now is the server's time in milliseconds.
export async function dpop(key, method, url, now, session) {
  const target = new URL(url);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", key.sign.publicKey);
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } };
  const claims = {
    jti: toBase64URL(random(16)),
    htm: method,
    htu: target.origin + target.pathname,
    iat: Math.floor(now / 1000),
    ath: toBase64URL(await sha256(toUTF8(session))),
  };
  const signed = [header, claims].map((part) => toBase64URL(toUTF8(JSON.stringify(part)))).join(".");
  const signature = await crypto.subtle.sign(es256, key.sign.privateKey, toUTF8(signed));
  return `${signed}.${toBase64URL(new Uint8Array(signature))}`;
}
