"""Talk to a server with the MCP SDK for Python, of the line 1.x or 2.x, whichever can be imported.

Reads one JSON object from standard input: ``url`` and ``headers``, or ``command``; ``mode`` of a
2.x client (auto, legacy or a revision); ``calls``, a list of [tool, arguments]. Writes one JSON
object: the revision agreed on, the names of the tools, and what became of each call. Then it lists
the tools again: an error must not have ended the session.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version

from mcp import StdioServerParameters

ASKED = json.load(sys.stdin)
COMMAND = ASKED.get("command")
SERVER = COMMAND and StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])


async def talk_as_2(stack):
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    server = SERVER
    if server is None:
        import httpx2

        web = await stack.enter_async_context(httpx2.AsyncClient(headers=ASKED["headers"]))
        server = streamable_http_client(ASKED["url"], http_client=web)
    client = await stack.enter_async_context(Client(server, mode=ASKED["mode"]))
    return client, client.protocol_version


async def talk_as_1(stack):
    from mcp import ClientSession
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamablehttp_client

    transport = stdio_client(SERVER) if SERVER else None
    transport = transport or streamablehttp_client(ASKED["url"], headers=ASKED["headers"])
    streams = await stack.enter_async_context(transport)
    client = await stack.enter_async_context(ClientSession(*streams[:2]))
    return client, (await client.initialize()).protocolVersion


async def outcome(client, tool, arguments):
    try:
        result = await client.call_tool(tool, arguments)
    except Exception as error:  # each line has its own class
        return {"code": error.error.code}
    said = result.model_dump(by_alias=True, mode="json")
    return {name: said[name] for name in ("isError", "structuredContent", "content")}


async def main():
    async with AsyncExitStack() as stack:
        talk = talk_as_2 if version("mcp").startswith("2.") else talk_as_1
        client, revision = await talk(stack)
        tools = (await client.list_tools()).tools
        results = [await outcome(client, *call) for call in ASKED["calls"]]
        again = (await client.list_tools()).tools
    said = {"revision": revision, "tools": [tool.name for tool in tools], "results": results}
    json.dump({**said, "again": len(again)}, sys.stdout)


asyncio.run(main())
