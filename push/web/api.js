// Requests of the HTTP API (docs/push-api.md) to the page's own origin, each with a proof of the client's key.

import { dpop } from "./keys.js";
import { Refusal, isCode } from "./refusal.js";

const timeout = 30_000; // milliseconds
const clockTolerance = 5_000;

// A Clock is the server's, as far as its replies have told it: milliseconds of Unix time.
export class Clock {
  #skew = 0;

  now() {
    return Date.now() + this.#skew;
  }

  // learn takes note that the server's clock showed time when this device's showed at.
  learn(time, at = Date.now()) {
    this.#skew = time - at;
  }
}

// call sends one request and returns its reply, null for one without a body. who, {session, key}, authorizes it; null
// for a login. A proof that is refused because this device's clock is wrong is made again by the server's.
export async function call(clock, who, method, path, ask) {
  const before = clock.now() - Date.now();
  try {
    return await callOnce(clock, who, method, path, ask);
  } catch (err) {
    const moved = Math.abs(clock.now() - Date.now() - before);
    if (!who || moved < clockTolerance || !["unauthorized", "proof_invalid"].includes(err.code)) throw err;
    return callOnce(clock, who, method, path, ask);
  }
}

async function callOnce(clock, who, method, path, ask) {
  const url = new URL(path, location.origin).href;
  const headers = {};
  if (ask) headers["Content-Type"] = "application/json";
  if (who) {
    headers.Authorization = `DPoP ${who.session}`;
    headers.DPoP = await dpop(who.key, method, url, clock.now(), who.session);
  }
  const response = await fetch(url, {
    method, headers, body: ask && JSON.stringify(ask), credentials: "omit", redirect: "error", cache: "no-store",
    signal: AbortSignal.timeout(timeout),
  });
  learnDate(clock, response);
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

// learnDate: the header has whole seconds, and says more only of a clock that is off by several.
function learnDate(clock, response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (Math.abs(date - clock.now()) >= clockTolerance) clock.learn(date);
}

// refusal reads {"error": {"code", "message"}}. Whatever else stands there is not of a push server.
async function refusal(response) {
  const seconds = Number(response.headers.get("Retry-After")) || 0;
  const error = (await response.json().catch(() => null))?.error;
  if (!isCode(error?.code)) return new Refusal("", `the answer is ${response.status}`, seconds * 1000);
  return new Refusal(error.code, String(error.message ?? ""), seconds * 1000);
}
