// Makes a TypeScript client from an OpenAPI document: node generate.js DOCUMENT FOLDER
import { createClient } from '@hey-api/openapi-ts';

const [input, path] = process.argv.slice(2);
await createClient({
  input,
  output: { path, module: { extension: '.js' } },
  logs: { level: 'silent', file: false },
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
});
