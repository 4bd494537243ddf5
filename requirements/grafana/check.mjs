// Checks dashboards by the types of @grafana/schema: node check.mjs FILE...; prints faults as JSON.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const sources = new Map(
  process.argv.slice(2).map((file, number) => [
    join(here, `dashboard-${number}.ts`),
    {
      file,
      // A literal, since the compiler looks for unknown members in nothing else.
      text: `import type { File } from "./dashboard";\nexport const it: File =\n${readFileSync(file, "utf8")};\n`,
    },
  ]),
);

const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
};
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (name) => sources.has(name) || fileExists(name);
host.getSourceFile = (name, version) =>
  sources.has(name)
    ? ts.createSourceFile(name, sources.get(name).text, version)
    : getSourceFile(name, version);

const program = ts.createProgram([...sources.keys()], options, host);
const found = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => ({
  file: sources.get(file?.fileName)?.file ?? file?.fileName,
  line: file && ts.getLineAndCharacterOfPosition(file, start).line - 1,
  message: ts.flattenDiagnosticMessageText(messageText, "\n"),
}));
console.log(JSON.stringify(found, null, 2));
process.exitCode = found.length === 0 ? 0 : 1;
