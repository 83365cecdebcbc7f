// What a terminal is to the server. An identity is never changed, only replaced as a whole by one that these make:
//
//	user, device, app, appVersion
//	session        the session token, "" when signed out
//	key, pending   client keys: the one in use, and the next while the server may have either
//	servers        public keys of the server, the newest last; one of them heads the session
//	token, endpoint   where publishers reach the terminal, "" until asked for
//	push           the Web Push subscription

import { serverOf } from "./exchange.js";
import { parsePublic, verifyServerKey } from "./keys.js";
import { Refusal } from "./refusal.js";

const serversKept = 4;

// withServer adds a key of the server that follows one that is known. One that follows from none is not believed, as
// nothing else vouches for it, and the old one goes on.
export async function withServer(who, frame) {
  if (!frame || who.servers.some((server) => server.text === frame.public)) return who;
  const next = await parsePublic(frame.public);
  const before = who.servers.find((server) => server.kid === frame.previous);
  if (!before) {
    console.warn(`server key ${next.kid} is not used: signed by ${frame.previous}, which is not known here`);
    return who;
  }
  if (!(await verifyServerKey(before, next, frame.signature))) {
    throw new Refusal("server_proof_invalid", `server key ${next.kid} is not signed by ${before.kid}`);
  }
  return trimmed({ ...who, servers: [...who.servers, next] });
}

// trimmed drops the oldest keys but for the session's.
function trimmed(who) {
  const current = serverOf(who);
  const excess = who.servers.length - serversKept;
  const old = who.servers.filter((server) => server !== current).slice(0, Math.max(excess, 0));
  return { ...who, servers: who.servers.filter((server) => !old.includes(server)) };
}

// withSession has a new session token, which must be sealed to a key that is known.
export function withSession(who, session) {
  const next = { ...who, session };
  serverOf(next);
  return next;
}

export const renewed = (who) => ({ ...who, key: who.pending, pending: null });

export const signedOut = (who) => ({ ...who, session: "", key: null, pending: null, servers: [] });
