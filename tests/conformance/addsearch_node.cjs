// Make calls on AddSearch's own client in Node: node addsearch_node.cjs SCHEME HOST[:PORT][/PREFIX] CALLS
// CALLS is a JSON list of [method, argument …]. Runs in the folder that holds node_modules. The
// client only knows https; for http its own request interceptor changes the address.
const { createRequire } = require("node:module");

const AddSearchClient = createRequire(`${process.cwd()}/`)("addsearch-js-client");
const [scheme, host, calls] = process.argv.slice(2);

const client = new AddSearchClient("testkey");
client.setApiHostname(host, { statsApiRequestOnly: true });
if (scheme === "http") {
  const plain = ({ url }) => ({ url: url.replace("https://", "http://") });
  client.setApiRequestInterceptor(plain, { statsApiRequestOnly: true });
}
// The client writes what goes wrong to the console and goes on.
console.error = (error) => {
  process.exitCode = 1;
  process.stderr.write(`${error}\n`);
};
for (const [method, ...values] of JSON.parse(calls)) client[method](...values);
