// What a terminal keeps between two visits, in IndexedDB: its identity, with private keys that no script can read, and
// the messages it has acknowledged, which are its inbox and tell a duplicate.

const name = "keyhole-push";
export const kept = 1024; // messages

const finished = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

// committed resolves once a transaction is on the disk: an acknowledgement follows it.
const committed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the browser did not keep it"));
  });

export class Vault {
  #db;

  constructor(db) {
    this.#db = db;
  }

  static async open() {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("identity");
      request.result.createObjectStore("messages", { autoIncrement: true }).createIndex("id", "id", { unique: true });
    };
    return new Vault(await finished(request));
  }

  #write(store) {
    const transaction = this.#db.transaction(store, "readwrite", { durability: "strict" });
    return { transaction, store: transaction.objectStore(store) };
  }

  // identity returns what was saved, or undefined.
  identity() {
    return finished(this.#db.transaction("identity").objectStore("identity").get("terminal"));
  }

  saveIdentity(who) {
    const { transaction, store } = this.#write("identity");
    store.put(who, "terminal");
    return committed(transaction);
  }

  // messages returns all that are kept, the oldest first.
  messages() {
    return finished(this.#db.transaction("messages").objectStore("messages").getAll());
  }

  // add keeps a message, and returns false if one of its id is there already.
  async add(message) {
    const { transaction, store } = this.#write("messages");
    const done = committed(transaction);
    const known = await finished(store.index("id").getKey(message.id));
    if (known === undefined) {
      const key = await finished(store.add(message));
      store.delete(IDBKeyRange.upperBound(key - kept));
    }
    await done;
    return known === undefined;
  }

  // forget removes the messages, which are of one account alone.
  forget() {
    const { transaction, store } = this.#write("messages");
    store.clear();
    return committed(transaction);
  }
}
