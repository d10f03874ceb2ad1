// A test whose teardown fails keeps its results.
import http from 'k6/http';
import { row, shown } from './row.js';

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.URL}/iteration`);
}

export function teardown() {
  row('life.teardown', () => http.get(`${__ENV.URL}/teardown`).status);
  throw new Error('cannot clean up');
}

export function handleSummary(data) {
  return { stdout: `life.handleSummary: ${shown([data.metrics.iterations.values.count, data.metrics.http_reqs.values.count])}\n` };
}
