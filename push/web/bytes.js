// Bytes and their texts: what every other module here is written with.

const utf8 = new TextEncoder();
const fatalUTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const toUTF8 = (text) => utf8.encode(text);
export const fromUTF8 = (bytes) => fatalUTF8.decode(bytes);

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// equal is for values that are no secret: it stops at the first difference.
export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export const random = (size) => crypto.getRandomValues(new Uint8Array(size));

// uint32 and int64 are big endian. int64 takes a number that is an integer; negative ones are two's complement.
export function uint32(n) {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, n);
  return b;
}

export function int64(n) {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setBigInt64(0, BigInt(n));
  return b;
}

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// Standard base64 with padding (RFC 4648 section 4), as Go writes a []byte.
export function toBase64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export function fromBase64(text) {
  if (typeof text !== "string") throw new TypeError("base64 is not a text");
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

// base64url without padding (RFC 4648 section 5). Reading is strict: one text for the same bytes.
export const toBase64URL = (bytes) =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

export function fromBase64URL(text) {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]*$/.test(text)) throw new TypeError("not base64url");
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  if (toBase64URL(bytes) !== text) throw new TypeError("not base64url: stray bits at its end");
  return bytes;
}
