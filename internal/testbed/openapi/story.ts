// A program against a running server, written only with the client that was generated from its description. It prints what it
// saw as one JSON object; whoever started it compares.
import { createClient } from './client/client/index.js';
import * as api from './client/index.js';

const env = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
};
const given = JSON.parse(env('STORY')) as { server: string; key: string; provider: api.Provider; mailbox: api.Mailbox; other: api.Mailbox; to: string };
const client = createClient({ baseUrl: given.server, auth: given.key });
const path = { address: given.mailbox.address! };

// good gives the answer of a call, or ends the program with its problem document.
const good = <T>(answer: { data?: T; error?: unknown; response?: Response }): T => {
  if (answer.error !== undefined || answer.data === undefined) throw new Error(`${answer.response?.status} ${JSON.stringify(answer.error)}`);
  return answer.data;
};

const provider = good(await api.createProvider({ client, body: given.provider }));
const mailbox = good(await api.createMailbox({ client, body: given.mailbox }));
good(await api.createMailbox({ client, body: given.other }));

const headers = { 'Idempotency-Key': 'authorization-1' };
const link = good(await api.createAuthorization({ client, path, headers, body: { expires_in: '1h' } }));
const again = await api.createAuthorization({ client, path, headers, body: { expires_in: '1h' } });
const state = good(await api.getAuthorization({ client, path: { ...path, id: link.id } }));

const addresses: string[] = [];
let pages = 0;
for (let cursor: string | undefined; ; pages++) {
  const page: api.PageMailbox = good(await api.listMailboxes({ client, query: { limit: 1, cursor } }));
  for (const item of page.items) addresses.push(item.address!);
  if (!page.next) break;
  cursor = page.next;
}

const message: api.SubmissionRequest = { from: { address: given.mailbox.address! }, to: [{ address: given.to }], subject: 'From TypeScript', text: 'Hello.' };
const submit = (body: api.SubmissionRequest) => api.createSubmission({ client, headers: { 'Idempotency-Key': 'submission-1' }, body });
const submission = good(await submit(message));
const resubmission = await submit(message);
const other = await submit({ ...message, text: 'Goodbye.' });
const problem: api.Problem = other.error!;

const unknown = await api.getMailbox({ client, path: { address: 'nobody@example.org' } });
const refused = await api.listMailboxes({ client: createClient({ baseUrl: given.server, auth: 'mgk_wrong' }) });

const kinds: api.Event['kind'][] = [];
const stop = new AbortController();
const followed = await api.listEvents({ client, query: { after: '0' }, signal: stop.signal, headers: { Accept: 'text/event-stream' }, parseAs: 'stream' });
const stream = good(followed) as unknown as ReadableStream<Uint8Array>;
const decoder = new TextDecoder();
let text = '';
for await (const piece of stream) {
  text += decoder.decode(piece, { stream: true });
  for (const [, data] of text.matchAll(/^data: (.*)\n/gm)) {
    const { kind } = JSON.parse(data!) as api.Event;
    if (!kinds.includes(kind)) kinds.push(kind);
  }
  if (kinds.includes('submission.accepted')) break;
}
stop.abort();

console.log(
  JSON.stringify({
    provider: provider.name,
    mailbox: mailbox.address,
    created: provider.created_at,
    link: link.url ?? '',
    replayed: { status: again.response?.status, header: again.response?.headers.get('Idempotency-Replayed'), same: again.data?.id === link.id, url: again.data?.url ?? '' },
    state: state.state,
    addresses,
    pages: pages + 1,
    submission: submission.id,
    resubmission: { same: resubmission.data?.id === submission.id, header: resubmission.response?.headers.get('Idempotency-Replayed') },
    problem: { status: other.response?.status, type: problem.type, field: problem.field, remedy: problem.remedy },
    unknown: { status: unknown.response?.status, type: unknown.error?.type },
    refused: refused.error?.type,
    kinds,
  }),
);
process.exit(0);
