// Checks an OpenAPI document that comes on standard input and prints what is wrong with it, one finding a line.
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { text } from 'node:stream/consumers';

const config = await createConfig({
  extends: ['recommended-strict'],
  rules: {
    'info-license': 'off', // the programme has one; its API has none of its own
    'info-contact': 'off',
    'no-server-example.com': 'off', // a server in a test is at localhost
    'operation-description': 'off',
    'operation-operationId': 'error',
    'operation-operationId-unique': 'error',
    'operation-operationId-url-safe': 'error',
    'operation-singular-tag': 'error',
    'operation-tag-defined': 'error',
    'tag-description': 'error',
    'tags-alphabetical': 'off',
    'parameter-description': 'error',
    'no-unused-components': 'error',
    'no-invalid-media-type-examples': 'error',
    'no-invalid-schema-examples': 'error',
    'no-invalid-parameter-examples': 'error',
    'no-ambiguous-paths': 'error',
    'no-http-verbs-in-paths': 'off', // /v1/mailboxes/{address}/test is a noun
    'no-required-schema-properties-undefined': 'error',
    'no-enum-type-mismatch': 'error',
    'path-segment-plural': 'off',
    'paths-kebab-case': 'off', // {address}
    'response-contains-property': 'off',
    'spec-components-invalid-map-name': 'error',
  },
});
for (const p of await lintFromString({ source: await text(process.stdin), absoluteRef: 'openapi.json', config })) {
  console.log(`${p.severity} ${p.ruleId} at ${p.location?.[0]?.pointer ?? '?'}: ${p.message}`);
}
