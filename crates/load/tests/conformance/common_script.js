// A script in CommonJS, as TypeScript's compiler and webpack write them.
"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.options = exports.setup = void 0;
const http = require("k6/http");
const k6_1 = require("k6");
const { Counter } = require("k6/metrics");
const { row } = require("./row.js");
const counted = new Counter("counted");
exports.options = { vus: 2, iterations: 4, thresholds: { counted: ["count==4"] } };
exports.setup = () => ({ address: `${__ENV.URL}/setup` });
function default_1(data) {
  counted.add(1);
  k6_1.check(http.get(data.address), { ok: (response) => response.status === 200 });
  row("module.commonjs", () => [Object.keys(exports).sort(), typeof module.exports.default, this === undefined]);
}
exports.default = default_1;
exports.handleSummary = function handleSummary(data) {
  return { stdout: `${data.metrics.counted.values.count} counted\n` };
};
