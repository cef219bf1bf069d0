// Talk to a server with the MCP SDK for TypeScript: node mcp_client.mjs PACKAGE, in the folder that
// holds node_modules. Reads one JSON object from standard input: url and headers, or command; calls, a
// list of [tool, arguments]. Writes one JSON object: the names of the tools and what became of each
// call. Then it lists the tools again: an error must not have ended the session.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const load = createRequire(`${process.cwd()}/`);
const sdk = process.argv[2];
const { Client } = load(`${sdk}/client/index.js`);
const { StreamableHTTPClientTransport } = load(`${sdk}/client/streamableHttp.js`);
const { StdioClientTransport } = load(`${sdk}/client/stdio.js`);
const { url, headers, command, calls } = JSON.parse(readFileSync(0, "utf-8"));

const transport = command
  ? new StdioClientTransport({ command: command[0], args: command.slice(1) })
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client({ name: "conformance", version: "1" }, { capabilities: {} });
client.onerror = (error) => process.stderr.write(`${error}\n`);
await client.connect(transport);

const { tools } = await client.listTools();
const results = [];
for (const [name, values] of calls) {
  try {
    const { isError, structuredContent = null, content } = await client.callTool({ name, arguments: values });
    results.push({ isError, structuredContent, content });
  } catch (error) {
    results.push({ code: error.code });
  }
}
const again = (await client.listTools()).tools.length;
if (transport.terminateSession) await transport.terminateSession();
await client.close();
process.stdout.write(JSON.stringify({ tools: tools.map((tool) => tool.name), results, again }));
