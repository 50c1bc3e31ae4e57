// Runs oidc-provider for tests: `node provider.js SETTINGS.json`. The settings are written by internal/testbed/oidc.go.
//
// Everything that OAuth and OpenID Connect define is oidc-provider's own. Ours are three things around it: pages with which a
// person or a script signs in (interactions.js), storage that forgets nothing (storage.js), and a second port by which a test
// counts requests and asks for faults (control.js).

import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';

import Provider from 'oidc-provider';

import { Control } from './control.js';
import { interactions } from './interactions.js';
import { Storage } from './storage.js';

const settings = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const storage = new Storage();
const people = new Map(settings.users.map((person) => [person.login, person]));

function account(id) {
  const person = people.get(id);
  if (!person) return undefined;
  return {
    accountId: id,
    async claims() {
      return {
        sub: id,
        email: person.email,
        email_verified: person.email_verified,
        preferred_username: person.preferred_username,
        name: person.name,
      };
    },
  };
}

const client = (registered) => {
  const grants = registered.introspect_only ? [] : ['authorization_code', 'refresh_token'];
  return {
    client_id: registered.id,
    client_secret: registered.public ? undefined : registered.secret,
    token_endpoint_auth_method: registered.public ? 'none' : registered.auth_method,
    redirect_uris: registered.redirect_uris,
    grant_types: grants,
    response_types: registered.introspect_only ? [] : ['code'],
  };
};

const resource = settings.jwt_resource;

const provider = new Provider(settings.issuer, {
  adapter: (model) => storage.adapter(model),
  clients: settings.clients.map(client),
  findAccount: async (ctx, id) => account(id),
  // Claims of these scopes are in UserInfo, not in the ID token: that is oidc-provider's default.
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['preferred_username', 'name'],
  },
  scopes: ['openid', 'offline_access', ...settings.scopes],
  cookies: { keys: [settings.cookie_key] },
  jwks: settings.jwks,
  pkce: { required: () => true },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  // What a mail server learns from introspection, or finds in a JWT: whose mailbox the access token opens.
  extraTokenClaims: async (ctx, token) => {
    const person = people.get(token.accountId);
    return person && { email: person.email, username: person.preferred_username };
  },
  rotateRefreshToken: settings.rotate,
  expiresWithSession: async () => false,
  formats: {
    customizers: {
      // Dovecot 2.3 accepts no other type.
      jwt: async (ctx, token, parts) => {
        parts.header = { ...parts.header, typ: 'JWT' };
      },
    },
  },
  ttl: {
    AccessToken: settings.access_token_ttl,
    AuthorizationCode: 60,
    Grant: 14 * 24 * 3600,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: settings.refresh_token_ttl,
    Session: 14 * 24 * 3600,
  },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: async () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: Boolean(resource),
      defaultResource: async (ctx, asking, oneOf) => oneOf,
      useGrantedResource: async () => true,
      getResourceServerInfo: async () => ({
        scope: settings.scopes.join(' '),
        audience: resource,
        accessTokenTTL: settings.access_token_ttl,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

const control = new Control(provider, storage);
provider.use(control.watch);
provider.use(interactions(provider, people));

const serve = settings.tls
  ? https.createServer({ cert: settings.tls.cert, key: settings.tls.key }, provider.callback())
  : http.createServer(provider.callback());
serve.listen(settings.port, '127.0.0.1', () => {
  http.createServer(control.answer).listen(settings.control_port, '127.0.0.1');
});
