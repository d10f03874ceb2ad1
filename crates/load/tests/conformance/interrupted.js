// An iteration that is cut short: what it did before counts, what its catch and finally do does not.
// k6 may or may not come as far as the catch of a request, so that writes no line.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, group, sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { row } from './row.js';

const begun = new Counter('begun');
const errors = new Counter('errors');

const cut = (name) => ({ executor: 'constant-vus', vus: 1, duration: '1s', gracefulStop: '100ms', exec: name });

export const options = {
  thresholds: { errors: ['count==0'] },
  scenarios: { caught: cut('caught'), ending: cut('ending'), failing: cut('failing'), retried: cut('retried'), grouped: cut('grouped') },
};

export function setup() {
  row('scenario.gracefulStop', () => Object.keys(exec.test.options.scenarios).length);
}

export function caught() {
  begun.add(1);
  try {
    http.get(`${__ENV.URL}/delay/3000`, { throw: true });
  } catch (error) {
    errors.add(1);
    check(1, { 'in catch': () => false });
  }
}

export function ending() {
  begun.add(1);
  try {
    sleep(3);
  } catch (error) {
    exec.test.abort(error.message);
  }
}

export function failing() {
  begun.add(1);
  try {
    sleep(3);
  } catch (error) {
    exec.test.fail(error.message);
  }
}

export function retried() {
  begun.add(1);
  for (;;) {
    try {
      sleep(3);
    } catch {
      errors.add(1);
    }
  }
}

export function grouped() {
  begun.add(1);
  group('cut', () => {
    try {
      sleep(3);
    } finally {
      errors.add(1);
      check(1, { 'in finally': () => false });
    }
  });
}
