// no-addresses.js LOCK: takes out of an npm lock where its packages ask for money.
const { readFileSync, writeFileSync } = require("node:fs");

const path = process.argv[2];
const lock = JSON.parse(readFileSync(path, "utf8"));
for (const each of Object.values(lock.packages)) delete each.funding;
writeFileSync(path, JSON.stringify(lock, null, 2) + "\n");
