// Checks AsyncAPI documents: node check.mjs FILE...; prints errors and warnings as JSON, no hints.
import { DiagnosticSeverity, Parser, fromFile } from "@asyncapi/parser";

const parser = new Parser();
const found = [];
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await fromFile(parser, file).parse();
  for (const { code, message, path, severity } of diagnostics) {
    if (severity > DiagnosticSeverity.Warning) continue;
    found.push({ file, code, message, path: path.join(".") });
  }
  if (!document && diagnostics.length === 0) found.push({ file, message: "could not be read" });
}
console.log(JSON.stringify(found, null, 2));
process.exitCode = found.length === 0 ? 0 : 1;
