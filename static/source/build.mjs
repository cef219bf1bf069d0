// Build the browser's files from the sources beside this one: node build.mjs [FOLDER]
// They go into FOLDER, by default the one above, each with a .gz and a .br beside it.
// Runs in a folder whose node_modules has what package.json names.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const { transformSync } = createRequire(`${process.cwd()}/`)("esbuild");
const sources = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2] || dirname(sources));
/** File → the most bytes it may have as brotli, and minified. */
const BUDGETS = {
  "clickmw.js": [1300, 3000],
  "clickmw.extra.js": [2000, 6000],
  "clickmw.feedback.js": [1000, 3000],
};

function build(name) {
  const source = readFileSync(join(sources, name), "utf-8");
  const { code } = transformSync(source, { minify: true, target: "es2018", charset: "utf8" });
  const bytes = Buffer.from(code.trimEnd());
  const packed = {
    "": bytes,
    ".gz": gzipSync(bytes, { level: 9 }), // node writes no time into it
    ".br": brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
  };
  for (const [suffix, content] of Object.entries(packed)) {
    writeFileSync(join(folder, name + suffix), content);
  }
  const [small, plain] = BUDGETS[name];
  const size = `${bytes.length} bytes, gzip ${packed[".gz"].length}, brotli ${packed[".br"].length}`;
  console.log(`${name}: ${size}`);
  return packed[".br"].length <= small && bytes.length <= plain;
}

if (!Object.keys(BUDGETS).map(build).every(Boolean)) {
  console.error("too large: the core may have 1,300 bytes of brotli, the extra 2,000");
  process.exitCode = 1;
}
