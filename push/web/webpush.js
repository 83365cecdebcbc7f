// Web Push encryption (RFC 8291): a publisher with a stock library encrypts for the subscription of this terminal.

import { concat, random, toBase64URL, toUTF8 } from "./bytes.js";

const ecdh = { name: "ECDH", namedCurve: "P-256" };
const headerSize = 16 + 4 + 1 + 65; // salt, record size, length of the sender's key, the key
const tagSize = 16;

// newSubscription makes {pair, auth}; the private key cannot leave the browser.
export async function newSubscription() {
  return { pair: await crypto.subtle.generateKey(ecdh, false, ["deriveBits"]), auth: random(16) };
}

// describe is the subscription as PushSubscription.toJSON has it, which the libraries take.
export async function describe(subscription, endpoint) {
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", subscription.pair.publicKey));
  return { endpoint, keys: { p256dh: toBase64URL(point), auth: toBase64URL(subscription.auth) } };
}

// decrypt reads a body of one record, which is what section 4 has senders write.
export async function decrypt({ pair, auth }, body) {
  if (body.length < headerSize + tagSize + 1 || body[20] !== 65) throw new Error("not a message of Web Push");
  const salt = body.slice(0, 16);
  const recordSize = new DataView(body.buffer, body.byteOffset).getUint32(16);
  const sender = body.slice(21, headerSize);
  const record = body.slice(headerSize);
  if (record.length > recordSize) throw new Error("more than one record");
  const { key, iv } = await keys(pair, auth, sender, salt);
  return unpad(new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, record)));
}

// keys derives the content key and nonce (RFC 8291 section 3.4).
async function keys(pair, auth, sender, salt) {
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const other = await crypto.subtle.importKey("raw", sender, ecdh, false, []);
  const secret = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: other }, pair.privateKey, 256));
  const ikm = await hkdf(secret, auth, concat(toUTF8("WebPush: info\0"), own, sender), 32);
  const raw = await hkdf(ikm, salt, toUTF8("Content-Encoding: aes128gcm\0"), 16);
  const iv = await hkdf(ikm, salt, toUTF8("Content-Encoding: nonce\0"), 12);
  return { key: await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]), iv };
}

async function hkdf(ikm, salt, info, length) {
  const key = await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits"]);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, 8 * length));
}

// unpad takes off the zeros at the end and the delimiter of a last record in front of them (RFC 8188 section 2).
function unpad(record) {
  let end = record.length - 1;
  while (end >= 0 && record[end] === 0) end--;
  if (end < 0 || record[end] !== 2) throw new Error("the body is cut off, or its padding is wrong");
  return record.slice(0, end);
}

