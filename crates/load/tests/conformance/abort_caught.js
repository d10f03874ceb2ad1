// The end of a test is not caught: what is in catch is no part of it.
// sorted
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { row } from './row.js';

const errors = new Counter('errors');

export const options = { vus: 1, iterations: 10, thresholds: { errors: ['count==0'] } };

export default function () {
  try {
    if (exec.scenario.iterationInTest === 2) {
      row('exec.test.abort', () => exec.scenario.iterationInTest);
      exec.test.abort('enough');
    }
    sleep(0.01);
  } catch (error) {
    errors.add(1);
    console.log(`caught ${error}`);
  }
}
