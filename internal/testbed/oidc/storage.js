// Storage in memory without a limit. oidc-provider's own forgets after a thousand entries, and a long campaign needs to see a
// re-used refresh token recognised as one however late it comes.

export class Storage {
  #entries = new Map(); // "Model:id" -> payload
  #uids = new Map(); // session uid -> session id

  adapter(model) {
    const key = (id) => `${model}:${id}`;
    return {
      upsert: async (id, payload) => {
        this.#entries.set(key(id), payload);
        if (model === 'Session') this.#uids.set(payload.uid, id);
      },
      find: async (id) => this.#entries.get(key(id)),
      findByUid: async (uid) => this.#entries.get(key(this.#uids.get(uid))),
      findByUserCode: async (code) => this.of(model).find((payload) => payload.userCode === code),
      consume: async (id) => {
        this.#entries.get(key(id)).consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id) => {
        this.#entries.delete(key(id));
      },
      revokeByGrantId: async (grant) => this.revoke(grant),
    };
  }

  of(model) {
    return [...this.#entries].filter(([key]) => key.startsWith(`${model}:`)).map(([, payload]) => payload);
  }

  find(model, id) {
    return this.#entries.get(`${model}:${id}`);
  }

  // Forgets a grant and everything issued under it.
  revoke(grant) {
    this.#entries.delete(`Grant:${grant}`);
    for (const [key, payload] of this.#entries) {
      if (payload.grantId === grant) this.#entries.delete(key);
    }
  }
}
