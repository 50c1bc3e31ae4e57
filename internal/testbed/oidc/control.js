// What a test may ask of the running provider, on a port of its own: which token requests came, what became of a refresh token,
// and the faults a network or a server can have at the token endpoint.

import * as querystring from 'node:querystring';

export class Control {
  #provider;
  #storage;
  #requests = [];
  #fault = { kind: '', times: 0 };
  #held = new Set(); // requests that hang, as functions that let them go

  constructor(provider, storage) {
    this.#provider = provider;
    this.#storage = storage;
  }

  // Middleware before everything of oidc-provider's.
  watch = async (ctx, next) => {
    if (ctx.path !== '/token') return next();
    const request = { at: new Date().toISOString(), grant_type: '', client_id: '', status: 0, error: '', fault: this.#take() };
    this.#requests.push(request);
    if (request.fault === 'unavailable') {
      request.status = 503;
      ctx.status = 503;
      ctx.set('Retry-After', '1');
      ctx.body = 'temporarily unavailable';
      return undefined;
    }
    if (request.fault === 'hang') await this.#hold(ctx);
    await next();
    request.grant_type = ctx.oidc?.params?.grant_type ?? '';
    request.client_id = ctx.oidc?.client?.clientId ?? '';
    request.status = ctx.status;
    request.error = ctx.body?.error ?? '';
    // From here on the provider has done its part: a refresh token has been rotated.
    if (request.fault === 'hang-after') await this.#hold(ctx);
    if (request.fault === 'cut') {
      ctx.respond = false;
      ctx.req.socket.destroy();
    }
    return undefined;
  };

  #take() {
    if (this.#fault.times === 0) return '';
    if (this.#fault.times > 0) this.#fault.times -= 1;
    return this.#fault.kind;
  }

  // Waits until the fault is cleared or the caller has given up.
  #hold(ctx) {
    return new Promise((resolve) => {
      const release = () => {
        this.#held.delete(release);
        resolve();
      };
      this.#held.add(release);
      ctx.req.socket.once('close', release);
    });
  }

  // The control port's request handler.
  answer = async (request, response) => {
    try {
      let text = '';
      for await (const chunk of request) text += chunk;
      const result = await this.#act(request.method, request.url, querystring.parse(text));
      response.writeHead(result === undefined ? 404 : 200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(result ?? {}));
    } catch (error) {
      response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end(String(error.stack));
    }
  };

  async #act(method, path, form) {
    switch (`${method} ${path}`) {
      case 'GET /requests':
        return this.#requests;
      case 'GET /hanging':
        return this.#held.size;
      case 'POST /fault':
        this.#fault = { kind: form.kind, times: Number(form.times) };
        if (!form.kind) for (const release of [...this.#held]) release();
        return {};
      case 'POST /revoke': {
        const grants = this.#storage.of('Grant').filter((grant) => grant.accountId === form.login);
        for (const grant of grants) this.#storage.revoke(grant.jti);
        return grants.length;
      }
      case 'POST /refresh-token':
        return this.#refreshToken(form.value);
      default:
        return undefined;
    }
  }

  // Whether the provider would still honour a refresh token.
  async #refreshToken(value) {
    const token = await this.#provider.RefreshToken.find(value, { ignoreExpiration: true });
    if (!token) return { state: 'unknown' };
    if (token.consumed) return { state: 'used' };
    if (token.isExpired) return { state: 'expired' };
    return { state: 'current' };
  }
}
