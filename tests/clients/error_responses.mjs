// What the TypeScript SDK takes error answers of an authorization server for.
//
// Standard input: [{"status", "body"}]. Standard output: [{"name", "message"}], the class of error of each; an answer
// that is no OAuth error response becomes a `ServerError` with the raw body in its message.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { parseErrorResponse } = modules('@modelcontextprotocol/sdk/client/auth.js');

const answers = JSON.parse(readFileSync(0, 'utf8'));
const errors = await Promise.all(answers.map(({ status, body }) => parseErrorResponse(new Response(body, { status }))));
process.stdout.write(JSON.stringify(errors.map(({ name, message }) => ({ name, message }))));
