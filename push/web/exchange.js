// The mutual verification: four messages, V1 to V4, before anything else passes.

import { concat, equal, random, toUTF8, uint32 } from "./bytes.js";
import { subprotocol } from "./frames.js";
import { publicBytes, sessionKID, sign, verify } from "./keys.js";
import { Refusal } from "./refusal.js";

const contextClient = "keyhole-push.v1 client confirmation";
const contextServer = "keyhole-push.v1 server confirmation";
const versions = [subprotocol];
const tokenSize = 32;

// A browser cannot read the exporter of its TLS connection (RFC 9266).
const binding = "none";
const exporter = new Uint8Array();

const list = (entries) => concat(...entries.flatMap((entry) => [uint32(toUTF8(entry).length), toUTF8(entry)]));

// transcript is all that was said in an exchange, one part each, as the proofs are over it.
async function transcript(x) {
  return [
    list(x.offered), list(x.supported), toUTF8(x.version), x.clientToken, x.serverToken,
    toUTF8(x.user), toUTF8(x.device), toUTF8(x.app), toUTF8(x.appVersion), toUTF8(x.session),
    await publicBytes(x.key), x.server.bytes, toUTF8(binding), exporter,
  ];
}

export const clientProof = async (x) => sign(x.key, contextClient, ...(await transcript(x)));

export const verifyServer = async (x, proof, clientProof) =>
  verify(x.server, proof, contextServer, ...(await transcript(x)), clientProof);

// exchange verifies both ends of an open connection, and returns the frame "confirmed". who is the identity, key the
// client key to prove. Until it returns, nothing else is sent, and nothing else is looked at.
export async function exchange(connection, who, key) {
  const x = {
    offered: versions, clientToken: random(tokenSize), user: who.user, device: who.device, app: who.app,
    appVersion: who.appVersion, session: who.session, key, server: serverOf(who),
  };
  connection.send("hello", {
    versions: x.offered, client_token: x.clientToken, session: x.session, app_version: x.appVersion, binding,
  });
  check(x, await expect(connection, "challenge"));
  const proof = await clientProof(x);
  connection.send("confirm", { server_token: x.serverToken, versions: x.offered, proof });
  const confirmed = await expect(connection, "confirmed");
  if (!(await verifyServer(x, confirmed.proof, proof))) {
    throw new Refusal("server_proof_invalid", `not by key ${x.server.kid} over this exchange`);
  }
  if (confirmed.binding !== "waived") {
    throw new Refusal("server_proof_invalid", `binding "${confirmed.binding}" confirmed, want "waived"`);
  }
  return confirmed;
}

// serverOf is the key that the server has to prove: the one that the session is sealed to.
export function serverOf(who) {
  const kid = sessionKID(who.session);
  const found = who.servers.find((server) => server.kid === kid);
  if (!found) throw new Refusal("session_invalid", `it is sealed to server key ${kid}, which nothing vouches for`);
  return found;
}

async function expect(connection, type) {
  const frame = await connection.next();
  if (frame.type === type) return frame;
  const code = ["challenge", "confirmed"].includes(frame.type) ? "out_of_order" : "not_verified";
  throw new Refusal(code, `the server sent a ${frame.type} frame, want a ${type}`);
}

// check is of V2: this client's own token came back, and the version is the best that both speak, or somebody has
// changed the lists.
function check(x, challenge) {
  if (!equal(challenge.client_token, x.clientToken)) {
    throw new Refusal("client_token_mismatch", "the server answered another exchange");
  }
  if (challenge.server_token.length !== tokenSize || equal(challenge.server_token, x.clientToken)) {
    throw new Refusal("bad_frame", `the server token has ${challenge.server_token.length} bytes, want ${tokenSize} of its own`);
  }
  const best = x.offered.find((version) => challenge.versions.includes(version));
  if (!best || challenge.version !== best) {
    throw new Refusal("downgrade", `version "${challenge.version}", offered ${x.offered.join(", ")}`);
  }
  Object.assign(x, { supported: challenge.versions, version: best, serverToken: challenge.server_token });
}
