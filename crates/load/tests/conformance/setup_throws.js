// A test whose setup fails has a summary, and no iterations and no teardown.
import http from 'k6/http';
import { check } from 'k6';
import { row, shown } from './row.js';

export const options = { iterations: 2, thresholds: { checks: ['rate==1'] } };

export function setup() {
  row('life.setup', () => http.get(`${__ENV.URL}/setup`).status);
  check(1, { 'made ready': () => true });
  throw new Error('nothing to test');
}

export default function () {
  console.log('never');
}

export function teardown() {
  console.log('never');
}

export function handleSummary(data) {
  return { stdout: `life.handleSummary: ${shown([data.metrics.checks.values.passes, data.metrics.http_reqs.values.count, data.metrics.iterations === undefined])}\n` };
}
