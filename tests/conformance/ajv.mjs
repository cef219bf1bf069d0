// Say what Ajv 8 says: reads {"schemas": {name: schema}, "cases": [[name, JSON text]]} from
// standard input and writes one array of errors for each case ([] for a valid one).
// Runs in the folder that holds node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { default: Ajv } = createRequire(`${process.cwd()}/`)("ajv");
const { schemas, cases } = JSON.parse(readFileSync(0, "utf-8"));
const ajv = new Ajv({ allErrors: true, strictTypes: false, strictRequired: false });
const validate = new Map();
for (const [name, schema] of Object.entries(schemas)) validate.set(name, ajv.compile(schema));

const verdicts = cases.map(([name, text]) => {
  const check = validate.get(name);
  return check(JSON.parse(text)) ? [] : check.errors;
});
process.stdout.write(JSON.stringify(verdicts));
