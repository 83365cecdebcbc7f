// What a refusal is called, and what follows from it.

// A Refusal has the code of an error that the server or this terminal names; docs/push-protocol.md lists all.
export class Refusal extends Error {
  constructor(code, message = "", retryAfter = 0) {
    super(message ? `${code}: ${message}` : code);
    this.code = code;
    this.retryAfter = retryAfter; // milliseconds; 0: the server did not say
  }
}

export const isCode = (text) => typeof text === "string" && /^[a-z][a-z_]{0,39}$/.test(text);

const verdicts = {
  giveUp: ["account_disabled", "binding_required", "token_not_yours", "token_revoked", "version_unsupported"],
  signIn: ["session_revoked", "session_expired", "session_stale", "session_invalid"],
  tokenAgain: ["token_unknown", "token_expired"],
  otherKey: ["proof_invalid", "epoch_invalid", "renewal_conflict"],
  endOfService: ["draining"],
  // The same would happen again at once; and after "replaced" two terminals would take turns.
  retrySlowly: [
    "bad_frame", "bad_request", "binding_mismatch", "client_token_mismatch", "downgrade", "forbidden", "frame_too_large",
    "not_verified", "out_of_order", "replaced", "server_proof_invalid", "state_invalid", "subprotocol_required",
    "unknown_frame",
  ],
};

// judge names what follows from the end of a connection: one of the verdicts, or "retry".
export function judge(err) {
  const found = Object.entries(verdicts).find(([, codes]) => codes.includes(err?.code));
  return found ? found[0] : "retry";
}

const longestRetryAfter = 15 * 60_000;

// retryAfter is the wait that the server asked for, in milliseconds; 0 if it did not.
export const retryAfter = (err) => Math.min(Math.max(err?.retryAfter ?? 0, 0), longestRetryAfter);

// A Backoff spreads attempts: full jitter over a range that doubles from min to max milliseconds. From zero, since
// after an edge is lost all of its terminals come at once, and only the full range thins them evenly.
export class Backoff {
  #failed = 0;

  constructor(min = 500, max = 60_000) {
    this.min = min;
    this.max = max;
  }

  next() {
    const ceiling = Math.min(this.min * 2 ** this.#failed++, this.max);
    return Math.random() * ceiling;
  }

  slow() {
    this.#failed++;
    return this.max / 2 + (Math.random() * this.max) / 2;
  }

  reset() {
    this.#failed = 0;
  }
}
