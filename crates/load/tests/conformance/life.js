// The life of a script: setup, iterations, teardown, shared data, and what each of them may do.
// sorted
// rows: life.handleSummary
import http from 'k6/http';
import { SharedArray } from 'k6/data';
import { Counter } from 'k6/metrics';
import exec from 'k6/execution';
import { row, shown, thrown } from './row.js';

const counted = new Counter('counted');
const shared = new SharedArray('shared', () => [{ a: 1 }, { a: 2, deep: { b: [1] } }, 'text', 5, null]);
const same = new SharedArray('shared', () => ['never asked']);
const refused = [thrown(() => new SharedArray('', () => [])), thrown(() => new SharedArray('x', 5)), thrown(() => new SharedArray('y', () => 5)), thrown(() => new SharedArray('z', async () => [])), thrown(() => new SharedArray())];

export const options = { vus: 2, iterations: 4, setupTimeout: '10s', teardownTimeout: '10s' };

export function setup() {
  row('life.setup', () => [__VU, typeof __ITER, http.get(`${__ENV.URL}/setup`).status, counted.add(1), exec.vu.idInTest, thrown(() => exec.scenario.name)]);
  return { token: 'abc', list: [1, { b: 2 }], nothing: undefined, empty: null };
}

export default function (data) {
  row('life.setup-data', () => [data, Object.keys(data).sort()]);
  row('data.SharedArray', () => [refused, shared.length, shared[0], shared[1].deep.b[0], shared[2], shared[3], shared[4], shared[9], same.length, Array.isArray(shared)]);
  row('data.SharedArray', () => [shared.map((one) => typeof one), shared.filter((one) => one === 5), [...shared].length, shared.indexOf('text'), shared.includes(5), JSON.stringify(shared), shared.find((one) => one && one.a === 2)]);
  row('data.SharedArray', () => { let count = 0; for (const one of shared) count += one === undefined ? 0 : 1; shared.forEach(() => { count += 1; }); return [count, Object.keys(shared), 0 in shared, 9 in shared]; });
  row('data.SharedArray', () => [thrown(() => { 'use strict'; shared[0] = 1; }), thrown(() => { shared.push(1); }), thrown(() => new SharedArray('late', () => []))]);
  row('data.SharedArray', () => { const one = shared[0]; try { one.a = 5; } catch (error) { return ['threw', shared[0].a]; } return [one.a, shared[0].a]; });
}

export function teardown(data) {
  row('life.teardown', () => [data, __VU, typeof __ITER, http.get(`${__ENV.URL}/teardown`).status]);
}

export function handleSummary(data) {
  return { stdout: `life.handleSummary: ${shown([data.setup_data, data.metrics.iterations.values.count, data.metrics.http_reqs.values.count])}\n` };
}
