// The pages on which a person signs in and consents, plain enough for a script: every form has the fields it needs and no other.

import * as querystring from 'node:querystring';

const escape = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const page = (title, content) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title></head><body><main><h1>${escape(title)}</h1>${content}</main></body></html>`;

const signIn = (uid, hint, remark) => page('Sign in', `
${remark ? `<p role="alert">${escape(remark)}</p>` : ''}
<form method="post" action="/interaction/${uid}/login">
<label>Login <input name="login" autocomplete="username" value="${escape(hint ?? '')}" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button id="continue" type="submit">Continue</button>
</form>${decline(uid)}`);

const consent = (uid, person, asking, scope) => page('Consent', `
<p>${escape(asking)} asks to act for <strong>${escape(person)}</strong>: ${escape(scope)}</p>
<form method="post" action="/interaction/${uid}/confirm"><button id="continue" type="submit">Continue</button></form>${decline(uid)}`);

const decline = (uid) => `
<form method="post" action="/interaction/${uid}/abort"><button id="decline" type="submit">Decline</button></form>`;

async function form(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 64 * 1024) throw new Error('form too large');
  }
  return querystring.parse(text);
}

async function granted(provider, { grantId, session, params, prompt: { details } }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) grant.addOIDCScope(details.missingOIDCScope.join(' '));
  if (details.missingOIDCClaims) grant.addOIDCClaims(details.missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return grant.save();
}

export function interactions(provider, people) {
  const finish = (ctx, result, merge) => provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: merge });

  return async (ctx, next) => {
    const [, uid, act] = /^\/interaction\/([^/]+)(?:\/(login|confirm|abort))?$/.exec(ctx.path) ?? [];
    if (!uid) return next();

    ctx.set('Cache-Control', 'no-store');
    ctx.type = 'html';
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    if (ctx.method === 'GET') {
      ctx.body = details.prompt.name === 'login'
        ? signIn(uid, details.params.login_hint)
        : consent(uid, details.session.accountId, details.params.client_id, details.params.scope);
      return undefined;
    }

    ctx.respond = false; // interactionFinished writes the answer itself
    switch (act) {
      case 'login': {
        const { login, password } = await form(ctx.req);
        if (!people.has(login) || people.get(login).password !== password) {
          ctx.respond = true;
          ctx.status = 403;
          ctx.body = signIn(uid, login, 'Unknown login or wrong password.');
          return undefined;
        }
        return finish(ctx, { login: { accountId: login } }, false);
      }
      case 'confirm':
        return finish(ctx, { consent: { grantId: await granted(provider, details) } }, true);
      default:
        return finish(ctx, { error: 'access_denied', error_description: 'End-User aborted interaction' }, false);
    }
  };
}
