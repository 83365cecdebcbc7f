// HPKE (RFC 9180) in base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM, one message to a key, as
// enc || ciphertext. WebCrypto has the parts: ECDH, HMAC and AES-GCM.

import { concat, toUTF8, uint32 } from "./bytes.js";

const kem = concat(toUTF8("KEM"), Uint8Array.of(0, 0x10));
const suite = concat(toUTF8("HPKE"), Uint8Array.of(0, 0x10, 0, 1, 0, 1));
const version = toUTF8("HPKE-v1");
const curve = { name: "ECDH", namedCurve: "P-256" };
const pointSize = 65;
const none = new Uint8Array();

// open returns what was sealed to the key pair, {privateKey, publicKey} of ECDH. It throws if that is not so.
export async function open(pair, info, sealed) {
  if (sealed.length < pointSize) throw new Error(`sealed payload of ${sealed.length} bytes is too short`);
  const enc = sealed.slice(0, pointSize);
  const sender = await crypto.subtle.importKey("raw", enc, curve, false, []);
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const { key, iv } = await schedule(await shared(pair.privateKey, sender, enc, own), info);
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed.slice(pointSize)));
}

// seal encrypts to a point, 65 bytes.
export async function seal(point, info, plaintext) {
  const receiver = await crypto.subtle.importKey("raw", point, curve, false, []);
  const pair = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const enc = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const { key, iv } = await schedule(await shared(pair.privateKey, receiver, enc, point), info);
  return concat(enc, new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plaintext)));
}

// shared is Encap and Decap of section 4.1: both ends come to it with their own private key.
async function shared(privateKey, publicKey, enc, receiver) {
  const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: publicKey }, privateKey, 256));
  const prk = await extract(kem, none, "eae_prk", dh);
  return expand(kem, prk, "shared_secret", concat(enc, receiver), 32);
}

// schedule is KeySchedule of section 5.1 without a PSK. The base nonce is that of the first message, and here the only.
async function schedule(secret, info) {
  const context = concat(
    Uint8Array.of(0), // mode_base
    await extract(suite, none, "psk_id_hash", none),
    await extract(suite, none, "info_hash", toUTF8(info)),
  );
  const prk = await extract(suite, secret, "secret", none);
  const key = await expand(suite, prk, "key", context, 16);
  const iv = await expand(suite, prk, "base_nonce", context, 12);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), iv };
}

// extract and expand are LabeledExtract and LabeledExpand of section 4; expand gives up to 32 bytes, one block of HKDF.
const extract = (id, salt, label, ikm) => hmac(salt, concat(version, id, toUTF8(label), ikm));

async function expand(id, prk, label, info, length) {
  const labeled = concat(uint32(length).slice(2), version, id, toUTF8(label), info);
  return (await hmac(prk, concat(labeled, Uint8Array.of(1)))).slice(0, length);
}

// hmac: an empty key is one of zeros (RFC 2104), and WebCrypto takes only the latter.
async function hmac(key, data) {
  const usable = key.length > 0 ? key : new Uint8Array(32);
  const imported = await crypto.subtle.importKey("raw", usable, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, data));
}
