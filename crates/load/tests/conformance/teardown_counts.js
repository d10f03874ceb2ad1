// What teardown measures is part of the verdict, as of the summary.
// rows: exit.99
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { row } from './row.js';

const cleaned = new Counter('cleaned');

export const options = {
  iterations: 2,
  thresholds: {
    checks: ['rate==1'],
    cleaned: ['count==1'],
    'http_reqs{group:::teardown}': ['count==1'],
  },
};

export default function () {
  check(1, { ok: () => true });
}

export function teardown() {
  cleaned.add(1);
  row('life.teardown', () => http.get(`${__ENV.URL}/teardown`).status);
  check(1, { 'cleanup ok': () => false });
}
