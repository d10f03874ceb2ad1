// A script that marks the test as failed says so at once; the test goes on.
import exec from 'k6/execution';
import { row } from './row.js';

export const options = { iterations: 3 };

export default function () {
  row('exec.test.fail exit.110', () => exec.scenario.iterationInTest);
  if (exec.scenario.iterationInTest === 1) exec.test.fail('bad state');
}
